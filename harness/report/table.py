"""A table of the report as CSV in full precision, Markdown and LaTeX, and which files each of its cells is from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.base.files import write_csv, write_text
from harness.report.grid import Grid, latex_grid, markdown_grid

EVERY_ROW = "*"

# column -> result files, relative to the repository root
Sources = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Table:
    """`rows` are the CSV's, by column, None an empty cell; `grids` are what Markdown and LaTeX show.

    `facts` are (heading, sentence) on what made it. `sources` are by row, called by its `key` columns, and by column;
    those of `*` hold for every row.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[Mapping[str, Any], ...]
    grids: tuple[Grid, ...]
    facts: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    key: tuple[str, ...]
    sources: Mapping[str, Sources]

    def row_name(self, row: Mapping[str, Any]) -> str:
        return "-".join(str(row[column]) for column in self.key)


def write_table(folder: Path, table: Table, preset: str) -> list[str]:
    """Write `folder`/NAME.csv, .md and .tex; give their names."""
    write_csv(folder / f"{table.name}.csv", table.columns, table.rows)
    write_text(folder / f"{table.name}.md", markdown(table, preset))
    write_text(folder / f"{table.name}.tex", latex(table, preset))
    return [f"{table.name}.{suffix}" for suffix in ("csv", "md", "tex")]


def markdown(table: Table, preset: str) -> str:
    """The page: what made it, warnings, tables with aligned columns (readable in a terminal too), notes."""
    parts = [f"# {table.title} ({preset})"]
    parts.append("\n".join(f"- **{heading}**: {text}." for heading, text in table.facts))
    parts += [f"> **Warning.** {sentence}" for sentence in table.warnings]
    for grid in table.grids:
        parts += [f"**{grid.caption}**", markdown_grid(grid)]
    parts.append("\n".join(f"- {note}" for note in table.notes))
    return "\n\n".join(filter(None, parts)) + "\n"


def latex(table: Table, preset: str) -> str:
    """Tables to \\input into a document that loads booktabs, graphicx and longtable; what made them under the first."""
    below = [""] * len(table.grids)
    below[0] = " ".join((*(f"{heading}: {text}." for heading, text in table.facts), *table.warnings))
    below[-1] = " ".join(filter(None, (below[-1], *table.notes)))
    parts = [f"% {table.title} ({preset}). Needs \\usepackage{{booktabs,graphicx,longtable}}."]
    for place, (grid, text) in enumerate(zip(table.grids, below, strict=True), 1):
        parts.append(latex_grid(grid, f"tab:dcls-{preset}-{table.name}-{place}", text))
    return "\n\n".join(parts) + "\n"


def provenance_of(table: Table) -> dict[str, dict[str, list[str]]]:
    """Row -> column -> files; `*` stands for every row of a table whose rows all come from the same ones."""
    return {row: {column: sorted(files) for column, files in columns.items()} for row, columns in table.sources.items()}
