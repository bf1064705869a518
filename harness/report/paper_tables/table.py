"""A table: its cells, each with the files that it is made from, and the views of it that readers see."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

# What a cell is made of: the name of a column, for its value in the first line, or a function of all lines
Recipe = str | Callable[[pd.DataFrame], Any]
# Lines, which of their columns name files, and what is made of them: columns by their recipes, or taken as they are
Part = tuple[pd.DataFrame, Sequence[str], Mapping[str, Recipe] | Iterable[str]]
# Of a view: the heading, and the name of a row's attribute that is the text, or a function of the row
Column = tuple[str, str | Callable[[Any], str]]


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


def cells_from(by: str, *parts: Part) -> pd.DataFrame:
    """Cells by column, of the rows that are called by the values of `by`, each made from the lines of its row.

    Their files are those that the named columns of the same lines name. A cell of None, NaN or no text is left out.
    """
    found = []
    for lines, files, recipes in parts:
        made = recipes if isinstance(recipes, Mapping) else {name: name for name in recipes}
        for row, group in lines.groupby(by, sort=False):
            named = tuple(sorted({file for name in files for file in group[name].dropna()}))
            for column, recipe in made.items():
                value = group[recipe].iloc[0] if isinstance(recipe, str) else recipe(group)
                if not pd.isna(value) and value != "":
                    found.append((str(row), column, value, named))
    return pd.DataFrame(found, columns=["row", "column", "value", "files"], dtype=object)


def as_frame(cells: pd.DataFrame, columns: Iterable[str]) -> pd.DataFrame:
    """A line a row, in the order in which the cells name them; NaN where there is no cell."""
    wide = cells.pivot(index="row", columns="column", values="value")
    return wide.reindex(index=cells["row"].unique(), columns=list(columns))


def view(caption: str, rows: Iterable[Any], columns: Sequence[Column], words: int = 1) -> View:
    text = tuple(
        tuple(str(getattr(row, one)) if isinstance(one, str) else one(row) for _, one in columns) for row in rows
    )
    return View(caption, tuple(heading for heading, _ in columns), text, words)


def each_once(column: str) -> Recipe:
    """The values of all lines, in order of appearance."""
    return lambda lines: " ".join(map(str, lines[column].unique()))
