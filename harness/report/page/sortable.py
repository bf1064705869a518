"""A table of text as the page sorts it: each cell with the number that it begins with."""

from __future__ import annotations

import re
from dataclasses import dataclass

from harness.report.paper_tables.numbers import NONE
from harness.report.paper_tables.table import View

NUMBER = re.compile(r"[+-]?\d[\d,]*(?:\.\d+)?")


@dataclass(frozen=True)
class Cell:
    """`key` is what a column of numbers is sorted by; None where the cell has none, and comes last."""

    text: str
    key: float | None


@dataclass(frozen=True)
class Sortable:
    """A view's cells; `numeric` says of each column whether it is sorted by number."""

    caption: str
    header: tuple[str, ...]
    numeric: tuple[bool, ...]
    rows: tuple[tuple[Cell, ...], ...]


def sortable(view: View) -> Sortable:
    numeric = tuple(column >= view.words for column in range(len(view.header)))
    return Sortable(
        view.caption, view.header, numeric, tuple(tuple(Cell(text, _key(text)) for text in row) for row in view.rows)
    )


def _key(text: str) -> float | None:
    """The result of a product written out (`(768 + 1) x 527 = 405,263`), else the first number."""
    found = NUMBER.match(text.rpartition("= ")[2].strip()) if text != NONE else None
    return float(found[0].replace(",", "")) if found else None
