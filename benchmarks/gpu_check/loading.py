"""Training steps at full size on clips from an HDF5 file: how long they wait for clips, and what each stage takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import h5py
import numpy as np
import torch

from benchmarks.gpu_check.check import ROOT, Check, Failed
from harness.config.params import Params, load
from harness.data.clips.hdf5 import Hdf5Reader
from harness.models import build as models
from harness.running.processes import World
from harness.throughput.rounds import timed
from harness.training import augment, batches, reading
from harness.training.loop import SessionTimes, waiting
from harness.training.run import Run, new_run
from harness.training.step import optimizer_step

MODEL, CLASSES, RATE, SEED = "convnext_dcls_audio_tiny", 527, 32_000, 0
WARM, STEPS, REPEATS = 3, 15, 5  # steps before those that count, those, and how often a part is timed


@dataclass(frozen=True)
class Hdf5Clips:
    """Noise as PANNs packs AudioSet, one class a clip; see harness.data.clips.Clips."""

    read: Hdf5Reader
    count: int
    samples: int
    targets: np.ndarray

    @property
    def labels(self) -> list[str]:
        return list(map(str, range(CLASSES)))

    @property
    def ids(self) -> list[str]:
        return list(map(str, range(self.count)))

    def __len__(self) -> int:
        return self.count

    def waveform(self, index: int) -> np.ndarray:
        return np.multiply(self.read(0, index, self.samples), np.float32(1 / 32768), dtype=np.float32)


def run(check: Check) -> None:
    """Raises Failed where what is read lies in memory that a GPU cannot copy from on its own."""
    batch, clips, seconds = (2, 8, 1.5) if check.tiny else (32, 256, 10.0)
    with TemporaryDirectory() as folder:
        source = written(Path(folder) / "noise.h5", clips, round(seconds * RATE))
        params = params_of(batch)
        made, _ = new_run(params, MODEL, SEED, CLASSES, World(0, 1, check.device))
        made.trainee.model.train()
        division = batches.divide(params.train, clips)
        for workers in (0, 1) if check.tiny else (8, 0):
            waited, rate = waiting_share(made, source, division, workers)
            check.note(**{f"workers_{workers}": {"waiting_share": waited, "clips_per_s": rate}})
            check.say(f"{workers} workers: {rate:.0f} clips/s, {waited:.0%} of the time waiting for clips")
        raw = next(reading.read(source, np.arange(clips), batch, [0], 0))
        pinned = raw.waveform.is_pinned() and raw.targets.is_pinned()
        milliseconds = parts(made, source, raw, division, check.device)
        check.note(milliseconds=milliseconds, pinned=pinned)
        check.say(f"milliseconds a batch of {batch}: " + ", ".join(f"{k} {v:.1f}" for k, v in milliseconds.items()))
        if check.on_gpu and not pinned:
            raise Failed("the clips that are read are not pinned")


def params_of(batch: int) -> Params:
    """AudioSet's recipe in bf16, with the convolutions that are fastest here."""
    params = load(ROOT / "presets" / "audioset.yaml")
    changes = {"batch": batch, "micro_batch": None, "precision": "bf16", "convolution": "measured"}
    train = params.train.model_copy(update=changes)
    system = params.systems[MODEL]
    system = system.model_copy(update={"model": models.full_size(system.model)})
    return params.model_copy(update={"train": train, "systems": {MODEL: system}})


def written(path: Path, count: int, samples: int) -> Hdf5Clips:
    random = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        waveforms = file.create_dataset("waveform", (count, samples), np.int16)
        for index in range(count):
            waveforms[index] = random.integers(-8000, 8000, samples, dtype=np.int16)
    targets = np.eye(CLASSES, dtype=np.float32)[np.arange(count) % CLASSES]
    return Hdf5Clips(Hdf5Reader((path,), ((),)), count, samples, targets)


def waiting_share(made: Run, source: Hdf5Clips, division: batches.Division, workers: int) -> tuple[float, float]:
    """Of the time of some steps, the share that waits for clips; and clips a second."""
    numbers = list(islice(cycle(batches.numbers_of(division, 0, 0)), WARM + STEPS))
    times, order, started = SessionTimes(), batches.epoch_order(SEED, 0, len(source)), 0.0
    raw_batches = waiting(reading.read(source, order, division.micro_batch, numbers, workers), times)
    for step in range(WARM + STEPS):
        if step == WARM:
            times.waited, started = 0.0, time.perf_counter()
        optimizer_step(
            made, raw_batches, division, 0, 1e-5, False
        )  # ends when the device is done: it asks for the losses
    seconds = time.perf_counter() - started
    return times.waited / seconds, STEPS * division.batch / seconds


def parts(
    made: Run, source: Hdf5Clips, raw: reading.RawBatch, division: batches.Division, device: torch.device
) -> dict[str, float]:
    """Milliseconds of a batch's stages, each begun and ended with the device idle."""
    train, front_end, samples = made.params.train, made.front_end, raw.waveform.shape[1]
    height, width = front_end.spectrogram.n_fft // 2 + 1, 1 + samples // front_end.spectrogram.hop_length

    def draw() -> list[augment.Draws]:
        return [augment.draw(train, augment.generator(SEED, 0, index), height, width) for index in raw.indices]

    draws, random = draw(), np.random.default_rng(0)
    with torch.no_grad():
        waveform = raw.waveform.to(device)
        power = front_end.power(waveform)
        log_mel, targets = front_end.log_mel(power), raw.targets.to(device)
        stages: dict[str, Callable[[], object]] = {
            "reading on one core": lambda: np.stack([source.waveform(index) for index in raw.indices]),
            "drawing augmentations": draw,
            "copying": lambda: raw.waveform.to(device, non_blocking=True),
            "roll and speed": lambda: augment.roll_and_speed(waveform, draws),
            "power spectrogram": lambda: front_end.power(waveform),
            "erasing": lambda: augment.erase(power, draws),
            "log-mel": lambda: front_end.log_mel(power),
            "mixup": lambda: augment.mixup(log_mel, targets, train.mixup_alpha, random),
        }
        found = {name: milliseconds(stage, device) for name, stage in stages.items()}
    found["all of that but reading"] = milliseconds(lambda: batches.prepare(train, raw, (SEED, 0), front_end), device)
    found["the whole step but reading"] = milliseconds(
        lambda: optimizer_step(made, iter([raw]), division, 0, 1e-5, False), device
    )
    return found


def milliseconds(stage: Callable[[], object], device: torch.device) -> float:
    return 1000 * median([timed(stage, device) for _ in range(REPEATS + 1)][1:])
