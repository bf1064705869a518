"""The paper's augmentations, in its order: roll, speed change, (spectrogram,) random erasing, mixup.

What happens to a sample is drawn from (seed, epoch, sample index) alone, so that neither workers, nor a resumed run,
nor the number of processes can change it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from harness.config.params import Train

ERASE_AREA = (0.02, 1 / 3)  # of the spectrogram: the defaults of timm's RandomErasing, as are the next two
ERASE_ASPECT = (0.3, 1 / 0.3)
ERASE_TRIES = 10


@dataclass(frozen=True)
class Draws:
    """What is drawn for one sample. `rate` None: no speed change. `place`: where in [0, 1] it is padded or cropped."""

    shift: float
    rate: float | None
    place: float
    erase: tuple[int, int, int, int] | None


def generator(*key: int) -> np.random.Generator:
    """A generator that depends on the key alone, e.g. (seed, epoch, sample index)."""
    return np.random.default_rng(np.random.SeedSequence(key))


def draw(train: Train, random: np.random.Generator, height: int, width: int) -> Draws:
    """One sample's augmentation; height x width is its power spectrogram. Always consumes draws in the same order."""
    shift = float(random.random()) if train.roll else 0.0
    changed = random.random() < train.speed_probability
    rate, place = float(random.uniform(train.speed_low, train.speed_high)), float(random.random())
    erased = random.random() < train.erase_probability
    rectangle = _rectangle(random, height, width) if erased else None
    return Draws(shift, rate if changed else None, place, rectangle)


def _rectangle(random: np.random.Generator, height: int, width: int) -> tuple[int, int, int, int] | None:
    """Top, left, height, width; area and aspect as timm's RandomErasing draws them; None where no try fits."""
    for _ in range(ERASE_TRIES):
        area = random.uniform(*ERASE_AREA) * height * width
        aspect = math.exp(random.uniform(math.log(ERASE_ASPECT[0]), math.log(ERASE_ASPECT[1])))
        tall, wide = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if tall < height and wide < width:
            top, left = random.integers(0, height - tall + 1), random.integers(0, width - wide + 1)
            return int(top), int(left), tall, wide
    return None


def roll_and_speed(waveform: Tensor, draws: list[Draws]) -> Tensor:
    """Circular roll by `shift` of the length, then nearest-sample indexing at `rate`, padded or cropped back.

    float32 (clips, samples) to the same shape, on its device. A rate above 1 shortens, and zeros surround the rest.
    """
    length, result = waveform.shape[1], torch.empty_like(waveform)
    for one, draw, moved in zip(waveform, draws, result, strict=True):
        shift = int(draw.shift * length)
        if draw.rate is None:
            moved[shift:], moved[:shift] = one[: length - shift], one[length - shift :]
        else:
            _at_rate(one.roll(shift), draw.rate, draw.place, moved)
    return result


def _at_rate(waveform: Tensor, rate: float, place: float, result: Tensor) -> None:
    """Write the speed change of a clip, (samples,), into `result`."""
    length = waveform.shape[0]
    changed = int(length / rate)
    start = int(place * (abs(changed - length) + 1))
    first, ahead = (start, 0) if changed >= length else (0, start)  # samples cropped, or zeros put, in front
    count = min(changed, length)
    # float64: in float32 a place in a long clip times the rate would round to another sample
    source = torch.arange(first, first + count, dtype=torch.float64, device=waveform.device).mul_(rate).round_()
    result[:ahead] = result[ahead + count :] = 0.0
    torch.index_select(waveform, 0, source.clamp_(max=length - 1).int(), out=result[ahead : ahead + count])


def erase(power: Tensor, draws: list[Draws]) -> Tensor:
    """Zero each sample's rectangle of the power spectrogram (clips, bins, frames), in place."""
    for sample, one in zip(power, draws, strict=True):
        if one.erase:
            top, left, height, width = one.erase
            sample[top : top + height, left : left + width] = 0.0
    return power


def mixup(log_mel: Tensor, targets: Tensor, alpha: float, random: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Mix each clip with its mirror in the batch, one lambda from Beta(alpha, alpha) for the whole batch."""
    if alpha == 0:
        return log_mel, targets
    weight = float(random.beta(alpha, alpha))
    return torch.lerp(log_mel.flip(0), log_mel, weight), torch.lerp(targets.flip(0), targets, weight)
