"""Recordings of any length as windows of a clip's length, read ahead in threads, so that a model need not wait."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import soundfile
import soxr

from harness.base.errors import UserError
from harness.data.clips import decoding
from harness.data.clips.decoding import BadAudio, Sound
from harness.data.clips.shards import RATE, to_int16
from harness.data.clips.truncated import cut_short

FORMATS = set(soundfile.available_formats()) - {"RAW"}  # of which no header says what it is
ENDINGS = {f".{name.lower()}" for name in FORMATS} | {".aif", ".oga", ".opus", ".m4a"}
BLOCK = decoding.LONGEST  # seconds that are decoded at a time
READERS = 16  # threads at most; decoding and resampling leave Python alone


@dataclass(frozen=True)
class Windows:
    """Length and distance in samples at 32 kHz, hop <= samples; the last window ends with the recording, and one that
    is shorter than a window is zero-padded. `band_limit` in Hz, as the model's data had it."""

    samples: int
    hop: int
    band_limit: float | None


@dataclass(frozen=True)
class Block:
    """Windows of `file`, float32 (samples,), by their first samples; `problem`: why it cannot be read (further)."""

    file: Path
    starts: Sequence[int]
    windows: Sequence[np.ndarray]
    last: bool
    problem: str = ""


def recordings(named: Iterable[Path]) -> list[Path]:
    """The files that are named, and all sound files at any depth of the folders that are, sorted within each.

    Raises UserError where a folder has none, or nothing is there.
    """
    found: list[Path] = []
    for path in named:
        if path.is_dir():
            inside = sorted(one for one in path.rglob("*") if one.suffix.lower() in ENDINGS and one.is_file())
            if not inside:
                raise UserError(f"{path}: no sound file in it; name a folder of wav, flac, ogg, mp3 or m4a files")
            found += inside
        else:
            found.append(path)
    return list(dict.fromkeys(found))


def read_ahead(files: Sequence[Path], windows: Windows) -> Iterator[Block]:
    """The blocks of each file, in order; threads decode the next ones, also of the files that follow, meanwhile."""
    readers = min(READERS, os.cpu_count() or 1)
    left, begun = iter(files), deque[tuple[Iterator[Block], Future[Block]]]()
    with ThreadPoolExecutor(readers) as pool:

        def begin() -> None:
            for file in islice(left, 1):
                blocks = _blocks(file, windows)
                begun.append((blocks, pool.submit(next, blocks)))

        for _ in range(2 * readers):
            begin()
        while begun:
            blocks, coming = begun.popleft()
            begin()
            while not (block := coming.result()).last:
                coming = pool.submit(next, blocks)
                yield block
            yield block


def _blocks(file: Path, windows: Windows) -> Iterator[Block]:
    """At least one, of which the last says so. What is wrong with the file comes as a block too."""
    try:
        heard, first, start = (
            np.zeros(0, np.float32),
            0,
            0,
        )  # `heard` begins at sample `first`, the next window at `start`
        for piece, last in _pieces(file, windows.band_limit):
            heard = np.concatenate([heard, piece])
            end, starts = first + len(heard), []
            while start + windows.samples < end:
                starts.append(start)
                start += windows.hop
            if last:
                starts.append(max(0, end - windows.samples))
            found = [heard[one - first : one - first + windows.samples] for one in starts]
            if last and len(found[-1]) < windows.samples:
                found[-1] = np.pad(found[-1], (0, windows.samples - len(found[-1])))
            yield Block(file, starts, found, last)
            kept = max(first, start - windows.hop)  # the last window may begin anywhere after the one before
            heard, first = heard[kept - first :], kept
    except BadAudio as bad:
        yield Block(file, [], [], True, f"{bad.status}: {bad}")
    except OSError as error:
        yield Block(file, [], [], True, f"unreadable: {error.strerror or error}")


def _pieces(file: Path, band_limit: float | None) -> Iterator[tuple[np.ndarray, bool]]:
    """The recording at 32 kHz, float32 (n,), piece by piece, the same samples as `featurize` packs; and which is last.

    Raises BadAudio or OSError, perhaps after some pieces.
    """
    chain: list[soxr.ResampleStream] | None = None
    good = False  # whether there was a piece with sound in it: a long recording may be silent for a while
    for sound, last in _decoded(file):
        try:
            decoding.check_sound(sound)
            good = True
        except BadAudio as bad:
            if bad.status not in ("silent", "short") or (last and not good):
                raise
        if chain is None:
            rates = [sound.rate, *([round(2 * band_limit)] if band_limit else []), RATE]
            chain = [
                soxr.ResampleStream(before, after, 1, dtype="float32", quality="HQ")
                for before, after in pairwise(rates)
                if before != after
            ]
        waveform = sound.waveform
        for stream in chain:
            waveform = stream.resample_chunk(waveform, last=last)
        yield to_int16(waveform) * np.float32(1 / 32768), last


def _decoded(file: Path) -> Iterator[tuple[Sound, bool]]:
    """The recording in pieces of BLOCK seconds, and which is the last."""
    decoding.check_file(file)
    if file.suffix.lower() == ".m4a":
        whole = decoding.read_sound(file)
        if whole.seconds >= decoding.LONGEST:
            raise BadAudio("unreadable", f"an m4a file of more than {decoding.LONGEST:g} s; convert it to flac or wav")
        yield whole, True
        return
    try:
        with soundfile.SoundFile(os.fsencode(file.absolute())) as sound:
            rate, frames, read, last = sound.samplerate, sound.frames, 0, False
            if frames > decoding.UNKNOWN:
                raise BadAudio("unreadable", "its header does not say how long it is; write it to a file, not a pipe")
            while not last:
                samples = sound.read(round(BLOCK * rate), dtype="float32", always_2d=True)
                read += len(samples)
                last = read >= frames or not len(samples)
                if last and (missing := cut_short(file, sound, frames, read)):
                    raise BadAudio("unreadable", missing)
                if not read:
                    raise BadAudio("empty", "no samples")
                if not np.isfinite(samples).all():
                    raise BadAudio("not_finite", "NaN or infinite samples")
                yield Sound(decoding.mono(samples), rate, frames / rate, float(np.abs(samples).max(initial=0))), last
    except (RuntimeError, TypeError, ValueError) as error:  # soundfile's errors are RuntimeErrors
        raise BadAudio("unreadable", decoding.in_words(error)) from error
