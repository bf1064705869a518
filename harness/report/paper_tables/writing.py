"""Writes a table as CSV in full precision, as Markdown and as LaTeX."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pandas as pd

from harness.base.files import write_text
from harness.report.paper_tables.table import Table, View

NARROWEST = 10  # characters of a column of LaTeX
MOST_ROWS = 40  # of a LaTeX table on one page
TEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}"}
TEX |= {character: f"\\{character}" for character in "&%$#_{}"}
TEX |= {"±": r"$\pm$", ">": r"\textgreater{}", "|": r"\textbar{}"}
MINUS = re.compile(r"(?<![\w-])-(?=\d)")


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
