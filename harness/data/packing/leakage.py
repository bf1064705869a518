"""The same recording in two splits: found by fingerprints, confirmed by the correlation of the waveforms, reported.

How the thresholds were found, on 80 recordings of ESC-10 and 79 of `instruments`, re-encoded (ogg, mp3), shifted, made
softer, with noise at -30 dB, or with up to 47 ms cut off: the fingerprints of 99.8% of these 954 copies are above NEAR,
as are those of 0.4% of the pairs of notes in different splits and of one of 64,000 pairs of recordings in different
folds. The waveforms of the copies correlate at 0.928 and above (but for some short hits without their attack), those of
two takes of one note, and of filtered copies, at 0.898 and below. By finer log-mel spectrograms, takes (up to 0.97)
cannot be told from copies (0.85 and above).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import scipy.fft
import soxr

from harness.base.errors import UserError
from harness.base.files import write_csv
from harness.data.clips.shards import RATE
from harness.data.packing.fingerprints import SECONDS, StoredFingerprints

NEAR = 0.85  # of fingerprints' scalar product: what is below is not looked at
SAME = 0.92  # of the waveforms' correlation
MOST = 8  # of the clips nearest to one that are looked at, in each other split
LISTED = 1000  # pairs that the report lists; it counts all

BLOCK = 2048  # clips of each split that are compared at a time: 17 MB
COARSE = 8_000  # Hz
FINER = 4  # shifts in a sample at COARSE: 31 microseconds
OVERLAP = 0.25  # of each clip's energy must at least be there at the best shift, to count in full


@dataclass(frozen=True)
class SplitClips:
    """The good clips of a split: records of FINGERPRINT, and of each clip the name and int16 (samples,) at 32 kHz."""

    split: str
    fingerprints: np.ndarray | StoredFingerprints
    name: Callable[[int], str]
    read: Callable[[int], np.ndarray]


@dataclass(frozen=True)
class Pair:
    """Two clips of one recording. `same` is `content`, where all samples are equal, or `near`."""

    split: str
    id: str
    other_split: str
    other_id: str
    same: str
    correlation: float


@dataclass(frozen=True)
class Leakage:
    """`counts`: for each two splits how many clips of the first have the same samples in the second (`content`), or
    only nearly (`near`), and how many pairs that makes, at MOST a clip; `pairs`: the first LISTED."""

    counts: dict[str, dict[str, int]]
    pairs: list[Pair]


def find_leakage(splits_clips: Sequence[SplitClips]) -> Leakage:
    """All recordings in two of the splits, in bounded memory: what is compared is read as it is needed."""
    counts, listed = {}, list[Pair]()
    for first, second in combinations(splits_clips, 2):
        count = counts[f"{first.split}-{second.split}"] = {"content": 0, "near": 0, "pairs": 0}
        best: dict[str, str] = {}
        for pair in _pairs(first, second):
            if best.get(pair.id) != "content":
                best[pair.id] = pair.same
            count["pairs"] += 1
            if len(listed) < LISTED:
                listed.append(pair)
        for same in best.values():
            count[same] += 1
    return Leakage(counts, listed)


def _pairs(first: SplitClips, second: SplitClips) -> Iterator[Pair]:
    for start in range(0, len(first.fingerprints), BLOCK):
        clip, at = np.empty(0, np.int16), -1
        for index, other in _candidates(first.fingerprints[start : start + BLOCK], second.fingerprints):
            if index != at:
                clip, at = first.read(start + index), index
            copy = second.read(other)
            same = "content" if np.array_equal(clip, copy) else "near"
            found = 1.0 if same == "content" else correlation(clip, copy)
            if found >= SAME:
                yield Pair(
                    first.split, first.name(start + index), second.split, second.name(other), same, round(found, 3)
                )


def _candidates(block: np.ndarray, others: np.ndarray | StoredFingerprints) -> list[tuple[int, int]]:
    """Indices of what may be the same: for each clip of the block the MOST nearest, equal contents before all."""
    kind = np.dtype([("clip", np.int32), ("other", np.int64), ("near", np.float32)])
    found, shapes = np.empty(0, kind), block["shape"].astype(np.float32)
    for start in range(0, len(others), BLOCK):
        chunk = others[start : start + BLOCK]
        near = shapes @ chunk["shape"].astype(np.float32).T
        equal = np.flatnonzero(np.isin(chunk["content"], block["content"]))
        near[:, equal] += 2.0 * (block["content"][:, None] == chunk["content"][equal])
        clips, columns = np.nonzero(near > NEAR)
        more = np.empty(len(clips), kind)
        more["clip"], more["other"] = clips, start + columns
        more["near"] = near[clips, columns].round(4)  # the last bits of a product depend on its place in the block
        if len(more):
            found = _nearest(np.concatenate([found, more]))
    return [(int(clip), int(other)) for clip, other in zip(found["clip"], found["other"], strict=True)]


def _nearest(found: np.ndarray) -> np.ndarray:
    """The MOST nearest of each clip, in the order of clips."""
    found = found[np.lexsort((found["other"], -found["near"], found["clip"]))]
    _, first, counts = np.unique(found["clip"], return_index=True, return_counts=True)
    return found[np.arange(len(found)) - np.repeat(first, counts) < MOST]


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    """The highest correlation of two clips, int16 (samples,) at 32 kHz, over all shifts, as 0 to 1.

    Of their first 10 s, at 8 kHz; normalised by their energies where they overlap at that shift.
    """
    x, y = (
        soxr.resample(clip[: SECONDS * RATE].astype(np.float32), RATE, COARSE, quality="HQ") for clip in (first, second)
    )
    x, y = x - x.mean(), y - y.mean()
    size = scipy.fft.next_fast_len(len(x) + len(y), real=True)
    product = scipy.fft.rfft(x, size) * scipy.fft.rfft(y, size).conj()
    shifts = np.abs(scipy.fft.irfft(product, FINER * size)) * FINER
    best = int(shifts.argmax())
    shift = round(best / FINER) - (size if best >= FINER * len(x) else 0)  # y lies so many samples into x
    start, end = max(0, shift), min(len(x), len(y) + shift)
    energy = _energy(x, start, end) * _energy(y, start - shift, end - shift)
    return min(1.0, float(shifts[best]) / float(np.sqrt(energy))) if energy else 0.0


def _energy(waveform: np.ndarray, start: int, end: int) -> float:
    squares = waveform.astype(np.float64) ** 2
    return max(float(squares[start:end].sum()), OVERLAP * float(squares.sum()))


def write_report(path: Path, leakage: Leakage) -> None:
    """A CSV with a line a pair."""
    write_csv(path, [field.name for field in fields(Pair)], map(astuple, leakage.pairs))


def require_clean(leakage: Leakage, raw: Path, report: Path) -> None:
    """Raises UserError, naming the first pairs, where there are any."""
    if leakage.pairs:
        first = ", ".join(
            f"{each.id} ({each.split}) and {each.other_id} ({each.other_split})" for each in leakage.pairs[:3]
        )
        total = sum(count["pairs"] for count in leakage.counts.values())
        more = ", ..." if total > 3 else ""
        raise UserError(
            f"{raw}: the same recording is in two splits: {first}{more}; all such pairs ({total}) are in {report}: "
            "leave one of each out, or fetch again"
        )


def leakage_warning(counts: dict[str, Any]) -> str:
    """One line that says what was found, or "" for nothing."""
    found = [
        f"{sum(count[same] for same in ('content', 'near'))} clips of {name.replace('-', ' are in ')} too"
        for name, count in counts.items()
        if count["pairs"]
    ]
    return f"warning: {', '.join(found)} (leakage.csv lists them)" if found else ""
