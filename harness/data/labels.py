"""AudioSet's 527 classes, kept in audioset_labels.csv (index, mid, display name) as published with the data set."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from harness.errors import UserError
from harness.files import write_csv

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
