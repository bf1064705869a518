"""AudioSet's 527 classes, kept in audioset_labels.csv (index, mid, display name) as published with the data set."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from harness.base.errors import UserError
from harness.base.files import write_csv

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Label:
    """`index` is AudioSet's column (0 to 526); `mid` its machine id, e.g. /m/05r5c; for a user's own class both are
    -1 and the display name."""

    index: int
    mid: str
    name: str


@cache
def audioset() -> tuple[Label, ...]:
    """All 527 classes, in AudioSet's order."""
    with open(HERE / "audioset_labels.csv", newline="") as file:
        return tuple(Label(int(row["index"]), row["mid"], row["display_name"]) for row in csv.DictReader(file))


@cache
def by_mid() -> dict[str, Label]:
    return {label.mid: label for label in audioset()}


@cache
def by_name() -> dict[str, Label]:
    return {label.name: label for label in audioset()}


def write_labels(path: Path, labels: Sequence[Label]) -> None:
    """The classes in use, one a row, in the order of the columns of `targets`."""
    write_csv(path, ["index", "mid", "display_name"], [(label.index, label.mid, label.name) for label in labels])


def read_labels(path: Path) -> list[Label]:
    """Raises UserError, naming the file, where it is missing or has other columns."""
    try:
        with open(path, newline="") as file:
            return [Label(int(row["index"]), row["mid"], row["display_name"]) for row in csv.DictReader(file)]
    except FileNotFoundError as error:
        raise UserError(f"{path}: missing; run `python -m harness featurize`") from error
    except (OSError, KeyError, ValueError) as error:
        raise UserError(f"{path}: no label list ({error}); run `python -m harness featurize` again") from error


def read_label_list(path: Path, name: str) -> list[Label]:
    """A class list of the user's, called `name` in messages: columns index, mid, display_name, or display_name alone.

    The order is that of `index`, which must count from 0, or else of the lines; a class without a mid is its own mid.
    Raises UserError, naming the list, where it cannot be read, has no class, or names one twice.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = reader.fieldnames or ()
            lines = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{name}: cannot be read as CSV ({error}); give an existing UTF-8 text with commas") from error
    if "display_name" not in columns:
        raise UserError(f"{name}: no column display_name; begin it with index,mid,display_name or display_name")
    if any(None in line for line in lines):
        raise UserError(f"{name}: a line has more values than there are columns; put names with a comma in quotes")
    rows = [{key: (value or "").strip() for key, value in line.items()} for line in lines]
    if "index" in columns:
        if sorted(row["index"] for row in rows) != sorted(str(index) for index in range(len(rows))):
            raise UserError(f"{name}: its column index must count from 0 to {len(rows) - 1}, each once")
        rows.sort(key=lambda row: int(row["index"]))
    found = [_listed(row) for row in rows]
    for key in ("mid", "name"):
        values = [getattr(label, key) for label in found]
        twice = next((value for value in values if values.count(value) > 1 or not value or ";" in value), None)
        if twice is not None:
            raise UserError(f"{name}: class {twice!r} is empty, has a semicolon or is there twice; mend the list")
    if not found:
        raise UserError(f"{name}: no class in it; give one a line")
    return found


def _listed(row: dict[str, str]) -> Label:
    """AudioSet's own class where the line names one, else the user's."""
    known = by_mid().get(row.get("mid", "")) or (None if row.get("mid") else by_name().get(row["display_name"]))
    index = known.index if known else -1
    return Label(index, row.get("mid") or (known.mid if known else row["display_name"]), row["display_name"])
