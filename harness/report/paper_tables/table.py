"""A table: its cells, each with the files that it is made from, and the views of it that readers see."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

CELL = ["row", "column", "value", "files"]


@dataclass(frozen=True)
class View:
    """Cells as text; the first `words` columns are words, the others numbers."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: int = 1


@dataclass(frozen=True)
class Table:
    """NAME.csv has the `columns` of `cells` (see `cells_from`); Markdown and LaTeX show the `views`.

    `facts` are (heading, sentence) on what made it. `same_files` where all cells of a column are made from the same
    files, row by row.
    """

    name: str
    title: str
    cells: pd.DataFrame
    columns: tuple[str, ...]
    views: tuple[View, ...]
    facts: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    same_files: bool = False

    @cached_property
    def frame(self) -> pd.DataFrame:
        return as_frame(self.cells, self.columns)

    @property
    def provenance(self) -> dict[str, dict[str, list[str]]]:
        """Row -> column -> the files that the cell is made from; `*` stands for every row."""
        found: dict[str, dict[str, list[str]]] = {}
        for row, column, _, files in self.cells.itertuples(index=False):
            if files:
                found.setdefault("*" if self.same_files else row, {})[column] = list(files)
        return found


def cells_from(
    lines: pd.DataFrame,
    by: str,
    files: Sequence[str],
    make: Callable[[pd.DataFrame], Mapping[str, Any]],
) -> pd.DataFrame:
    """The cells of the rows that are called by the values of `by`: `make` gives a row's, by column, from its lines.

    Their files are those that the columns `files` of the same lines name. A cell of None, NaN or no text is left out.
    """
    found = []
    for row, group in lines.groupby(by, sort=False):
        named = tuple(sorted({file for name in files for file in group[name].dropna()}))
        found += [(str(row), column, value, named) for column, value in make(group).items() if is_there(value)]
    return pd.DataFrame(found, columns=CELL, dtype=object)


def as_frame(cells: pd.DataFrame, columns: Iterable[str]) -> pd.DataFrame:
    """A line a row, in the order in which the cells name them; NaN where there is no cell."""
    wide = cells.pivot(index="row", columns="column", values="value")
    return wide.reindex(index=cells["row"].unique(), columns=list(columns))


def is_there(value: Any) -> bool:
    return value is not None and value != "" and not pd.isna(value)


def in_one_line(values: Iterable[object], between: str = " ") -> str:
    """Each value once, in order of appearance."""
    return between.join(str(value) for value in dict.fromkeys(values))
