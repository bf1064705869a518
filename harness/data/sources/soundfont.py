"""Reads SoundFont 2/3 files: every sample, and which programs or drum keys play it.

Written after the "SoundFont Technical Specification 2.04" (E-mu, 2006); SF3 is the same file with each sample an Ogg
Vorbis stream, and shdr's start and end then count bytes instead of samples.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from harness.base.errors import UserError

KEY_RANGE, INSTRUMENT, SAMPLE_ID = 43, 41, 53  # generators of the specification's section 8.1.2
VORBIS_FLAG = 16  # in shdr's sample type
RECORDS = {
    "phdr": "<20sHHHIII",
    "pbag": "<HH",
    "pgen": "<HH",
    "inst": "<20sH",
    "ibag": "<HH",
    "igen": "<HH",
    "shdr": "<20s5IBbHH",
}
MOST_RECORDS = 65536  # of a table: the file's own indices have 16 bits
MOST_USES = 100_000  # looked at, over all presets; the larger of our two fonts has 6,533


@dataclass(frozen=True)
class Use:
    """One place where a preset plays a sample: MIDI bank, program, and the keys low to high, both included."""

    bank: int
    program: int
    low: int
    high: int


@dataclass(frozen=True)
class Sample:
    """A sample as stored: `content` is an Ogg Vorbis stream."""

    name: str
    content: bytes
    uses: tuple[Use, ...]


def read_soundfont(path: Path) -> list[Sample]:
    """The samples of an SF3 file, in the file's order.

    Raises UserError, naming the file, where it is no SF3 file, is cut short, or claims more than it can hold: what is
    returned is never larger than the file.
    """
    try:
        data = path.read_bytes()
        chunks = _chunks(data)
        tables = {name: _records(name, data[slice(*chunks[name])]) for name in RECORDS}
        uses = _uses(tables)
        start, end = chunks["smpl"]
        left, samples = end - start, []
        for index, header in enumerate(tables["shdr"][:-1]):  # the last record only marks the end
            if not header[9] & VORBIS_FLAG:
                raise ValueError(f"sample {index} is not Ogg Vorbis")
            left -= header[2] - header[1]
            if not header[1] <= header[2] <= end - start or left < 0:
                raise ValueError(f"sample {index} reaches past the samples' end, or overlaps others")
            name = header[0].split(b"\0")[0].decode("latin-1").strip()
            samples.append(Sample(name, data[start + header[1] : start + header[2]], tuple(uses.get(index, ()))))
        return samples
    except FileNotFoundError as error:
        raise UserError(f"{path}: missing; run `python -m harness fetch`") from error
    except (OSError, KeyError, ValueError, IndexError, struct.error) as error:
        raise UserError(
            f"{path}: no readable SF3 file ({error}); delete it and run `python -m harness fetch`"
        ) from error


def _chunks(data: bytes) -> dict[str, tuple[int, int]]:
    """Start and end of the chunks that are read, inside the RIFF file's lists."""
    if data[:4] != b"RIFF" or data[8:12] != b"sfbk":
        raise ValueError("no RIFF sfbk header")
    found: dict[str, tuple[int, int]] = {}

    def walk(position: int, end: int, where: str) -> None:
        while position + 8 <= end:
            name, size = struct.unpack_from("<4sI", data, position)
            first, position = position + 8, position + 8 + size
            if position > end:
                raise ValueError(f"chunk {name!r} reaches past the end of {where}")
            if name == b"LIST" and where == "the file":  # the format has no lists inside lists
                walk(first + 4, position, "its list")
            elif (known := name.decode("latin-1")) in (*RECORDS, "smpl"):
                found[known] = (first, position)
            if size % 2 and data[position : position + 1] == b"\0":  # some writers leave the pad byte out
                position += 1

    walk(12, len(data), "the file")
    return found


def _records(name: str, table: bytes) -> list[tuple[Any, ...]]:
    if len(table) > MOST_RECORDS * struct.calcsize(RECORDS[name]):
        raise ValueError(f"{name} has more than {MOST_RECORDS} records")
    return list(struct.iter_unpack(RECORDS[name], table))


def _uses(tables: dict[str, list[tuple[Any, ...]]]) -> dict[int, dict[Use, None]]:
    """Sample index -> where presets play it, each once, in the order of presets."""
    zones: dict[int, list[tuple[int, int, int]]] = {}  # instrument -> (sample, low, high)
    for instrument, generators in _generators(tables, "inst", 1, "ibag", "igen"):
        if SAMPLE_ID in generators:
            zones.setdefault(instrument, []).append((generators[SAMPLE_ID], *_keys(generators)))
    uses: dict[int, dict[Use, None]] = {}
    looked_at = 0
    for preset, generators in _generators(tables, "phdr", 3, "pbag", "pgen"):
        header, (low, high) = tables["phdr"][preset], _keys(generators)
        played = zones.get(generators.get(INSTRUMENT, -1), [])
        looked_at += len(played)
        if looked_at > MOST_USES:
            raise ValueError(f"its presets play samples more than {MOST_USES} times")
        for sample, zone_low, zone_high in played:
            use = Use(header[2], header[1], max(low, zone_low), min(high, zone_high))
            if use.low <= use.high:
                uses.setdefault(sample, {})[use] = None
    return uses


def _generators(
    tables: dict[str, list[tuple[Any, ...]]], owners: str, column: int, bags: str, generators: str
) -> Iterator[tuple[int, dict[int, int]]]:
    """Index and generators of every zone of every preset (`phdr`) or instrument (`inst`); each zone has one owner."""
    first_bags = [record[column] for record in tables[owners]]
    starts = [record[0] for record in tables[bags]]
    if first_bags != sorted(first_bags) or starts != sorted(starts):
        raise ValueError(f"the indices in {owners} or {bags} do not rise")
    for owner, (first, following) in enumerate(pairwise(first_bags)):
        for bag in range(first, following):
            yield owner, dict(tables[generators][starts[bag] : starts[bag + 1]])


def _keys(generators: dict[int, int]) -> tuple[int, int]:
    packed = generators.get(KEY_RANGE, 127 << 8)
    return packed & 255, packed >> 8
