"""AudioSet's segment CSVs: three comment lines, then `YTID, start_seconds, end_seconds, "mid,mid"`."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.base.errors import UserError

YTID = re.compile(r"[A-Za-z0-9_-]{11}")
FORMAT = 'YTID, start_seconds, end_seconds, "mid,mid"'


@dataclass(frozen=True)
class Segment:
    """`start` and `end` are in seconds of the video `id`; a label that is repeated stands once."""

    id: str
    start: float
    end: float
    mids: tuple[str, ...]


def read_segments(path: Path, name: str) -> Iterator[Segment]:
    """The segments of one CSV, called `name` in messages, one after another.

    Raises UserError, naming file and line, where it cannot be read, a line is no segment, or none is in it.
    """
    empty = True
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, skipinitialspace=True)
            for cells in reader:
                if cells and not cells[0].startswith("#") and cells != ["empty"]:  # which PANNs' parts begin with
                    empty = False
                    yield _segment(cells, f"{name}:{reader.line_num}")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{name}: cannot be read as CSV ({error}); give AudioSet's segment CSV as published") from error
    if empty:
        raise UserError(f"{name}: no segment in it; give AudioSet's segment CSV as published")


def _segment(cells: list[str], where: str) -> Segment:
    try:
        name, start, end, mids = (cell.strip() for cell in cells)
        if not YTID.fullmatch(name):
            raise ValueError
        found = dict.fromkeys(mid.strip() for mid in mids.split(",") if mid.strip())
        return Segment(name, float(start), float(end), tuple(found))
    except ValueError as error:
        raise UserError(f"{where}: is {','.join(cells)[:80]!r}, must be {FORMAT}") from error
