"""Near-duplicate recordings: the same note in two fonts, under two names, or as the two sides of a stereo pair."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import soxr

from harness.data.clips.shards import RATE

EXCERPT_RATE = 8_000  # Hz
EXCERPT = 4_000  # samples: the first half second, where the attack tells recordings apart
THRESHOLD = 0.9  # of the normalised cross-correlation's maximum over all shifts
SIDE = re.compile(r"[\s-]*\(?[LR]\)?$|\s*\($")  # "(L)", "-R", "L", or "(" where the name field cut it


def plain_name(name: str) -> str:
    """A sample's name without its stereo side, case and blanks: `Pizz C3-L` and `Pizz C3(R)` are both `pizzc3`."""
    return re.sub(r"[\s_-]", "", SIDE.sub("", name)).lower()


def excerpt(waveform: np.ndarray) -> np.ndarray:
    """The first half second of a 32 kHz waveform at 8 kHz, float32 (4000,), of unit energy, zero-padded."""
    piece = soxr.resample(waveform[: EXCERPT * RATE // EXCERPT_RATE], RATE, EXCERPT_RATE, quality="HQ")[:EXCERPT]
    piece = np.pad(piece, (0, EXCERPT - len(piece)))
    return (piece / max(float(np.linalg.norm(piece)), 1e-9)).astype(np.float32)


def clusters(excerpts: np.ndarray, same: Sequence[str]) -> list[int]:
    """For each of n recordings the index of the first one of its cluster.

    `excerpts` is float32 (n, 4000), each of unit energy; recordings with an equal key in `same` are joined as well.
    By Cauchy-Schwarz the correlation at any shift is at most the scalar product of the magnitude spectra, so one
    matrix product leaves only the few pairs, over all classes, for which the correlation itself must be computed.
    """
    count = len(excerpts)
    parent = list(range(count))

    def root(index: int) -> int:
        while parent[index] != index:
            index = parent[index]
        return index

    def join(first: int, second: int) -> None:
        low, high = sorted((root(first), root(second)))
        parent[high] = low

    seen: dict[str, int] = {}
    for index, key in enumerate(same):
        join(seen.setdefault(key, index), index)
    spectra = np.fft.rfft(excerpts, 2 * EXCERPT, axis=1).astype(np.complex64)
    magnitudes = np.abs(spectra)
    magnitudes[:, 1:-1] *= np.sqrt(2.0)  # rfft keeps one of each conjugate pair
    magnitudes /= np.sqrt(2 * EXCERPT)  # now of unit energy, as the excerpts are
    for first in range(count):
        bound = magnitudes[first + 1 :] @ magnitudes[first]
        near = [
            index for index in (first + 1 + np.flatnonzero(bound > THRESHOLD)).tolist() if root(index) != root(first)
        ]
        if near:
            correlation = np.fft.irfft(spectra[near] * spectra[first].conj(), 2 * EXCERPT, axis=1)
            for index, highest in zip(near, np.abs(correlation).max(axis=1), strict=True):
                if highest > THRESHOLD:
                    join(first, index)
    return [root(index) for index in range(count)]
