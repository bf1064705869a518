"""A table: its cells, each with the files that it is made from, and the views of it that readers see.

It is written as CSV in full precision, as Markdown and as LaTeX.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from harness.base.files import write_text

# What a cell is made of: the name of a column, for its value in the first line, or a function of all lines
Recipe = str | Callable[[pd.DataFrame], Any]
# Lines, which of their columns name files, and what is made of them: columns by their recipes, or taken as they are
Part = tuple[pd.DataFrame, Sequence[str], Mapping[str, Recipe] | Iterable[str]]
# Of a view: the heading, and the name of a row's attribute that is the text, or a function of the row
Column = tuple[str, str | Callable[[Any], str]]

NARROWEST = 10  # characters of a column of LaTeX
MOST_ROWS = 40  # of a LaTeX table on one page
TEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}"}
TEX |= {character: f"\\{character}" for character in "&%$#_{}"}
TEX |= {"±": r"$\pm$", ">": r"\textgreater{}", "|": r"\textbar{}"}
MINUS = re.compile(r"(?<![\w-])-(?=\d)")


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


def write_table(folder: Path, table: Table, preset: str) -> list[str]:
    """Write `folder`/NAME.csv, .md and .tex; give their names."""
    write_text(folder / f"{table.name}.csv", table.frame.to_csv(index=False))
    write_text(folder / f"{table.name}.md", markdown(table, preset))
    write_text(folder / f"{table.name}.tex", latex(table, preset))
    return [f"{table.name}.{suffix}" for suffix in ("csv", "md", "tex")]


def markdown(table: Table, preset: str) -> str:
    """The page: what made it, warnings, views with aligned columns (readable in a terminal too), notes."""
    parts = [f"# {table.title} ({preset})"]
    parts.append("\n".join(f"- **{heading}**: {text}." for heading, text in table.facts))
    parts += [f"> **Warning.** {sentence}" for sentence in table.warnings]
    for view in table.views:
        parts += [f"**{view.caption}**", markdown_view(view)]
    parts.append("\n".join(f"- {note}" for note in table.notes))
    return "\n\n".join(filter(None, parts)) + "\n"


def markdown_view(view: View) -> str:
    rows = [[cell.replace("|", "\\|") for cell in row] for row in view.rows]
    frame = pd.DataFrame(rows, columns=list(view.header))
    sides = ["left"] * view.words + ["right"] * (len(view.header) - view.words)
    return str(frame.to_markdown(index=False, tablefmt="pipe", colalign=sides, disable_numparse=True))


def latex(table: Table, preset: str) -> str:
    """Tables to \\input into a document that loads booktabs, graphicx and longtable; what made them under the first."""
    below = [""] * len(table.views)
    below[0] = " ".join((*(f"{heading}: {text}." for heading, text in table.facts), *table.warnings))
    below[-1] = " ".join(filter(None, (below[-1], *table.notes)))
    parts = [f"% {table.title} ({preset}). Needs \\usepackage{{booktabs,graphicx,longtable}}."]
    for place, (view, text) in enumerate(zip(table.views, below, strict=True), 1):
        parts.append(latex_view(view, f"tab:dcls-{preset}-{table.name}-{place}", text))
    return "\n\n".join(parts) + "\n"


def latex_view(view: View, label: str, notes: str) -> str:
    """A table float as wide as the line, or a longtable over several pages where its rows fill more than one."""
    rows = [[escape(cell) for cell in row] for row in view.rows]
    header = [_stacked(view, column) for column in range(len(view.header))]
    columns = "l" * view.words + "r" * (len(header) - view.words)
    caption = escape(view.caption)
    style = pd.DataFrame(rows, columns=header).style.hide(axis="index")
    small = rf"\begin{{minipage}}{{\linewidth}}\footnotesize {escape(notes)}\end{{minipage}}"
    if len(rows) > MOST_ROWS:
        body = style.to_latex(
            environment="longtable", hrules=True, column_format=columns, caption=caption, label=label
        ).rstrip()
        below = [rf"\par\noindent{small}"] if notes else []
        return "\n".join([r"\begingroup\small", body, *below, r"\endgroup"])
    body = style.to_latex(hrules=True, column_format=columns).rstrip()
    head = [r"\begin{table}", r"\centering", rf"\caption{{{caption}}}", rf"\label{{{label}}}"]
    fitted = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"
    return "\n".join([*head, fitted, f"{body}}}", *([rf"\par\smallskip{small}"] if notes else []), r"\end{table}"])


def _stacked(view: View, column: int) -> str:
    """The header of a column, in lines about as wide as what stands below it."""
    width = max((NARROWEST, *(len(row[column]) for row in view.rows)))
    lines = [escape(line) for line in textwrap.wrap(view.header[column], width, break_long_words=False)]
    stacked = r" \\ ".join(lines)
    return rf"\shortstack[{'l' if column < view.words else 'r'}]{{{stacked}}}" if len(lines) > 1 else stacked


def escape(text: str) -> str:
    """Text as LaTeX shows it, character by character."""
    return MINUS.sub("$-$", "".join(TEX.get(character, character) for character in text))
