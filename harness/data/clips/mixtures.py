"""Clips of `instruments`: seeded mixtures of 1 to 4 classes, each a pure function of (mixture seed, split, index)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.data.clips.manifest import SPLITS
from harness.data.clips.shards import RATE

COUNT_WEIGHTS = (0.8, 0.12, 0.05, 0.03)  # of 1, 2, 3 and 4 classes: 1.31 on average
GAIN_DB = (-6.0, 0.0)  # uniform, on recordings of equal loudness
AUDIBLE = 0.75  # seconds of a recording (or all of it, or the whole clip) that lie inside the clip
FADE = int(0.005 * RATE)  # samples, at both ends of a part
LOUDEST = 0.99  # a louder sum is scaled down to this peak


@dataclass(frozen=True)
class Part:
    """A recording in a mixture: the column of its class, its place among that class's recordings of the split, where
    it begins (samples), its factor."""

    column: int
    recording: int
    onset: int
    gain: float


def plan(seed: int, split: str, index: int, lengths: Sequence[np.ndarray], samples: int) -> list[Part]:
    """What mixture `index` of a split consists of.

    `lengths` holds for each class the recordings' lengths in samples; `samples` is the clip's. Only uniform doubles
    are drawn, always equally many, so that the plan does not hang on how NumPy derives other distributions.
    """
    classes = len(lengths)
    random = np.random.Generator(np.random.PCG64([seed, SPLITS.index(split), index])).random((classes + 1, 4))
    limits = np.cumsum(COUNT_WEIGHTS)
    count = 1 + int(np.searchsorted(limits[:-1], random[classes, 0] * limits[-1], side="right"))
    parts = []
    for column in np.argsort(random[:classes, 0], kind="stable")[:count]:
        choice, place, level = random[column, 1:]
        recording = int(choice * len(lengths[column]))
        inside = min(int(lengths[column][recording]), int(AUDIBLE * RATE), samples)
        onset = int(place * (samples - inside + 1))
        gain = 10 ** ((GAIN_DB[0] + level * (GAIN_DB[1] - GAIN_DB[0])) / 20)
        parts.append(Part(int(column), recording, onset, gain))
    return parts


def render(parts: Sequence[Part], recordings: Sequence[Sequence[np.ndarray]], samples: int) -> np.ndarray:
    """The mixture's waveform, float32 (samples,); `recordings[column][recording]` is int16 (length,)."""
    mixture = np.zeros(samples, np.float32)
    for part in parts:
        piece = recordings[part.column][part.recording][: samples - part.onset].astype(np.float32)
        piece *= np.float32(part.gain / 32768)
        ramp = np.linspace(0.0, 1.0, min(FADE, len(piece) // 2), dtype=np.float32)
        piece[: len(ramp)] *= ramp
        piece[len(piece) - len(ramp) :] *= ramp[::-1]
        mixture[part.onset : part.onset + len(piece)] += piece
    peak = float(np.abs(mixture).max())
    if peak > LOUDEST:
        mixture *= np.float32(LOUDEST / peak)
    return mixture
