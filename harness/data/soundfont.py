"""Reads SoundFont 2/3 files: every sample, and which programs or drum keys play it.

Written after the "SoundFont Technical Specification 2.04" (E-mu, 2006); SF3 is the same file with each sample an Ogg
Vorbis stream, and shdr's start and end then count bytes instead of samples.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import UserError

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

    Raises UserError, naming the file, where it is no SF3 file or is cut short.
    """
    try:
        data = path.read_bytes()
        chunks = _chunks(data)
        tables = {
            name: list(struct.iter_unpack(layout, data[slice(*chunks[name])])) for name, layout in RECORDS.items()
        }
        uses = _uses(tables)
        start = chunks["smpl"][0]
        samples = []
        for index, header in enumerate(tables["shdr"][:-1]):  # the last record only marks the end
            if not header[9] & VORBIS_FLAG:
                raise ValueError(f"sample {index} is not Ogg Vorbis")
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
    """Start and end of every chunk inside the RIFF file's lists."""
    if data[:4] != b"RIFF" or data[8:12] != b"sfbk":
        raise ValueError("no RIFF sfbk header")
    found: dict[str, tuple[int, int]] = {}

    def walk(position: int, end: int) -> None:
        while position + 8 <= end:
            name, size = struct.unpack_from("<4sI", data, position)
            first, position = position + 8, position + 8 + size
            if position > len(data):
                raise ValueError(f"chunk {name!r} reaches past the end of the file")
            if name == b"LIST":
                walk(first + 4, position)
            else:
                found[name.decode("latin-1")] = (first, position)
            if size % 2 and data[position : position + 1] == b"\0":  # some writers leave the pad byte out
                position += 1

    walk(12, len(data))
    return found


def _uses(tables: dict[str, list[tuple[Any, ...]]]) -> dict[int, list[Use]]:
    """Sample index -> where presets play it, in the order of presets."""
    zones: dict[int, list[tuple[int, int, int]]] = {}  # instrument -> (sample, low, high)
    for index, (header, following) in enumerate(zip(tables["inst"], tables["inst"][1:], strict=False)):
        for bag in range(header[1], following[1]):
            generators = dict(tables["igen"][tables["ibag"][bag][0] : tables["ibag"][bag + 1][0]])
            if SAMPLE_ID in generators:
                zones.setdefault(index, []).append((generators[SAMPLE_ID], *_keys(generators)))
    uses: dict[int, list[Use]] = {}
    for header, following in zip(tables["phdr"], tables["phdr"][1:], strict=False):
        for bag in range(header[3], following[3]):
            generators = dict(tables["pgen"][tables["pbag"][bag][0] : tables["pbag"][bag + 1][0]])
            low, high = _keys(generators)
            for sample, zone_low, zone_high in zones.get(generators.get(INSTRUMENT, -1), ()):
                use = Use(header[2], header[1], max(low, zone_low), min(high, zone_high))
                if use.low <= use.high and use not in uses.setdefault(sample, []):
                    uses[sample].append(use)
    return uses


def _keys(generators: dict[int, int]) -> tuple[int, int]:
    packed = generators.get(KEY_RANGE, 127 << 8)
    return packed & 255, packed >> 8
