"""The manifest: one row a clip (for `instruments`, a recording), good or bad."""

from __future__ import annotations

import csv
import dataclasses
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.base.errors import UserError
from harness.base.files import write_csv
from harness.data.clips.labels import Label

if TYPE_CHECKING:
    import numpy as np

SPLITS = ("train", "val", "test")
STATUSES = (
    "ok",
    "duplicate",  # instruments: another recording of its cluster is packed
    "short",  # instruments: too short to be heard as its class; else: below 10 ms
    "low_rate",  # instruments: sampled below what the band limit needs; else: below 1 kHz
    "ambiguous",  # instruments: its cluster carries two classes
    "missing",
    "unreadable",
    "empty",
    "not_finite",
    "out_of_range",  # samples far above full scale: not scaled to -1..1
    "silent",
    "bad_label",
    "ghost",  # audioset from HDF5: a row without a name, a sound or a label
)


@dataclass(frozen=True)
class Row:
    """`labels` are mids joined by `;`. `offset` and `samples` count int16 samples in shard `shard`; empty (-1) where
    status is not `ok`; for audioset from HDF5 `shard` is the split's file and `offset` the row in it. `duration` is the
    source's, in seconds; `sha256` is that of the source's bytes."""

    id: str
    split: str
    labels: str
    source: str
    sha256: str = ""
    duration: float = 0.0
    status: str = "ok"
    reason: str = ""
    cluster: str = ""
    shard: int = -1
    offset: int = -1
    samples: int = -1


@dataclass(frozen=True)
class Source:
    """What a kind of data gives to `featurize`: the classes in the order of the targets' columns; the clips, one after
    another, with int16 (samples,) at 32 kHz for those whose status is `ok`; the lines of ATTRIBUTION.csv."""

    labels: list[Label]
    clips: Iterator[tuple[Row, np.ndarray | None]]
    attribution: list[Attribution]


@dataclass(frozen=True)
class Attribution:
    """Where a recording comes from, under what licence, and what gave it its label."""

    id: str
    source: str
    labels: str
    labelled_by: str
    author: str
    licence: str
    url: str


CONTROL = re.compile(r"[\x00-\x1f\x7f]")
COLUMNS = [field.name for field in dataclasses.fields(Row)]


def printable(text: str) -> str:
    """With control characters escaped, which would break a manifest's lines."""
    return CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


def manifest_cells(row: Row) -> list[object]:
    """The row as it stands in the file."""
    values = [getattr(row, name) for name in COLUMNS]
    values[COLUMNS.index("duration")] = f"{row.duration:.4f}"
    return ["" if value == -1 else value for value in values]


def write_manifest(path: Path, rows: Iterable[Row]) -> None:
    write_csv(path, COLUMNS, map(manifest_cells, rows))


def read_manifest(path: Path) -> list[Row]:
    """Raises UserError, naming the file, where it is missing or no manifest."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            return [_row(cells) for cells in csv.DictReader(file)]
    except FileNotFoundError as error:
        raise UserError(f"{path}: missing; run `python -m harness featurize`") from error
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise UserError(f"{path}: no manifest ({error!r}); run `python -m harness featurize` again") from error


def _row(cells: dict[str, str]) -> Row:
    shard, offset, samples = (int(cells[name] or -1) for name in ("shard", "offset", "samples"))
    texts = {name: cells[name] for name in ("id", "split", "labels", "source", "sha256", "status", "reason", "cluster")}
    return Row(**texts, duration=float(cells["duration"]), shard=shard, offset=offset, samples=samples)
