"""Batches of an epoch: which clips in which order, augmented, as log-mel, mixed; all from (seed, epoch, index)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from harness.data.clips import Clips
from harness.errors import UserError
from harness.frontend import FrontEnd
from harness.params import Train
from harness.training import augment, recipe

ORDER, STEP = 2**32 - 1, 2**32 - 2  # third parts of generator keys that no sample index reaches


@dataclass(frozen=True)
class Division:
    """How an optimizer step's clips are divided: each micro-batch is one forward pass and is mixed within itself."""

    batch: int
    micro_batch: int
    steps: int

    @property
    def accumulation(self) -> int:
        return self.batch // self.micro_batch

    def __str__(self) -> str:
        parts = f"{self.micro_batch} clips x {self.accumulation} accumulated"
        return f"batch {self.batch} = {parts}, {self.steps} steps an epoch"


def divide(train: Train, clips: int) -> Division:
    """A ragged last batch is left out, as in the paper; the order changes every epoch.

    Raises UserError where an epoch has no whole batch.
    """
    if clips < train.batch:
        raise UserError(f"train.batch: is {train.batch}, but an epoch has {clips} training clips; make it at most that")
    return Division(train.batch, train.micro_batch or train.batch, clips // train.batch)


def epoch_order(seed: int, epoch: int, clips: int) -> np.ndarray:
    """Indices of an epoch's clips in the order they are taken, int64 (clips,)."""
    return augment.generator(seed, epoch, ORDER).permutation(clips)


def micro_batches(division: Division, order: np.ndarray, step: int) -> Iterator[tuple[int, list[int]]]:
    """(number in the epoch, clip indices) of each micro-batch of an optimizer step."""
    for part in range(division.accumulation):
        number = step * division.accumulation + part
        yield number, order[number * division.micro_batch : (number + 1) * division.micro_batch].tolist()


def randomness(seed: int, epoch: int, number: int) -> np.random.Generator:
    """Of a micro-batch: drop path and the weight of mixup."""
    return augment.generator(seed, epoch, STEP, number)


def read_mixed(
    train: Train,
    clips: Clips,
    indices: list[int],
    key: tuple[int, int],
    random: np.random.Generator,
    front_end: FrontEnd,
) -> tuple[Tensor, Tensor]:
    """Augmented, mixed log-mel (clips, 1, 128, frames) and targets (clips, classes), on the front end's device.

    `key` is (seed, epoch), which with a clip's index gives its augmentation.
    """
    device = front_end.mel.fb.device
    waveforms = [clips.waveform(index) for index in indices]
    frames = 1 + waveforms[0].shape[0] // front_end.spectrogram.hop_length
    bins = front_end.spectrogram.n_fft // 2 + 1
    draws = [augment.draw(train, augment.generator(*key, index), bins, frames) for index in indices]
    changed = [augment.roll_and_speed(waveform, one) for waveform, one in zip(waveforms, draws, strict=True)]
    with torch.no_grad():
        power = augment.erase(front_end.power(torch.from_numpy(np.stack(changed)).to(device)), draws)
        targets = torch.from_numpy(np.asarray(clips.targets[indices], np.float32)).to(device)
        targets = recipe.smooth(targets, train.label_smoothing)
        log_mel, targets = augment.mixup(front_end.log_mel(power), targets, train.mixup_alpha, random)
    return log_mel.contiguous(memory_format=torch.channels_last), targets
