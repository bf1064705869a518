"""Batches of an epoch: which clips in which order, augmented, as log-mel, mixed; all from (seed, epoch, index)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from harness.audio.front_end import FrontEnd, few_at_once
from harness.base.errors import UserError
from harness.config.params import Train
from harness.training import augment, recipe
from harness.training.reading import RawBatch

ORDER, STEP = 2**32 - 1, 2**32 - 2  # third parts of generator keys that no sample index reaches


@dataclass(frozen=True)
class Division:
    """How an optimizer step's clips are divided: each micro-batch is one forward pass and is mixed within itself.

    A step's micro-batches have running numbers, and each process takes as many in a row; so neither what is in a
    micro-batch nor its randomness depends on the number of processes.
    """

    batch: int
    micro_batch: int
    steps: int
    processes: int = 1

    @property
    def parts(self) -> int:
        """Micro-batches in a step, over all processes."""
        return self.batch // self.micro_batch

    @property
    def accumulation(self) -> int:
        """Micro-batches in a step of one process."""
        return self.parts // self.processes

    def __str__(self) -> str:
        parts = f"{self.micro_batch} clips x {self.accumulation} accumulated x {self.processes} processes"
        return f"batch {self.batch} = {parts}, {self.steps} steps an epoch"


def divide(train: Train, clips: int, processes: int = 1) -> Division:
    """A ragged last batch is left out, as in the paper; the order changes every epoch.

    Raises UserError where an epoch has no whole batch, or the processes cannot share a batch evenly.
    """
    if clips < train.batch:
        raise UserError(f"train.batch: is {train.batch}, but an epoch has {clips} training clips; make it at most that")
    micro_batch = train.micro_batch or train.batch
    if train.batch % processes:
        raise UserError(f"train.batch: is {train.batch}, must be a multiple of the {processes} processes")
    if train.batch % (micro_batch * processes):
        raise UserError(
            f"train.micro_batch: is {micro_batch}, but {processes} processes share train.batch, {train.batch}; "
            f"make it {train.batch // processes} or a divisor of that"
        )
    return Division(train.batch, micro_batch, clips // train.batch, processes)


def epoch_order(seed: int, epoch: int, clips: int) -> np.ndarray:
    """Indices of an epoch's clips in the order they are taken, int64 (clips,)."""
    return augment.generator(seed, epoch, ORDER).permutation(clips)


def numbers_of(division: Division, rank: int, first_step: int) -> list[int]:
    """The micro-batches of a process in an epoch from a step on, by number, in the order they are taken."""
    own = range(rank * division.accumulation, (rank + 1) * division.accumulation)
    return [step * division.parts + part for step in range(first_step, division.steps) for part in own]


def prepare(train: Train, raw: RawBatch, key: tuple[int, int], front_end: FrontEnd) -> tuple[Tensor, Tensor]:
    """As the model takes it: augmented and mixed log-mel (clips, 1, 128, frames), and targets (clips, classes).

    `key` is (seed, epoch), which with a clip's index gives its augmentation, and with the micro-batch's number the
    weight of mixup and the state of torch's generator, which drop path draws from.
    """
    random = augment.generator(*key, STEP, raw.number)
    torch.manual_seed(int(random.integers(2**63)))
    device = front_end.mel.fb.device
    frames = 1 + raw.waveform.shape[1] // front_end.spectrogram.hop_length
    bins = front_end.spectrogram.n_fft // 2 + 1
    draws = [augment.draw(train, augment.generator(*key, index), bins, frames) for index in raw.indices]
    with torch.no_grad():
        waveform = raw.waveform.to(device, non_blocking=True)
        parts = [_augmented(waveform[few], draws[few], front_end) for few in few_at_once(waveform)]
        targets = recipe.smooth(raw.targets.to(device, non_blocking=True), train.label_smoothing)
        log_mel, targets = augment.mixup(torch.cat(parts), targets, train.mixup_alpha, random)
    return log_mel.contiguous(memory_format=torch.channels_last), targets


def _augmented(waveform: Tensor, draws: list[augment.Draws], front_end: FrontEnd) -> Tensor:
    power = front_end.power(augment.roll_and_speed(waveform, draws))
    return front_end.log_mel(augment.erase(power, draws))
