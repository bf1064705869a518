"""A table as text: cells of numbers, and the whole in Markdown or LaTeX."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass

NONE = "-"
NARROWEST = 10  # characters of a column of LaTeX
MOST_ROWS = 40  # of a LaTeX table on one page
TEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}"}
TEX |= {character: f"\\{character}" for character in "&%$#_{}"}
TEX |= {"±": r"$\pm$", ">": r"\textgreater{}", "|": r"\textbar{}"}
MINUS = re.compile(r"(?<![\w-])-(?=\d)")


@dataclass(frozen=True)
class Grid:
    """A table as text; the first `words` columns are words, the others numbers."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: int = 1


def markdown_grid(grid: Grid) -> str:
    lines = [grid.header, *grid.rows]
    cells = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    widths = [max(len(line[column]) for line in cells) for column in range(len(grid.header))]
    rule = ["-" * width if column < grid.words else "-" * (width - 1) + ":" for column, width in enumerate(widths)]
    padded = [
        [
            cell.ljust(width) if column < grid.words else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        for line in (cells[0], rule, *cells[1:])
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in padded)


def latex_grid(grid: Grid, label: str, notes: str) -> str:
    """A table float as wide as the line, or a longtable over several pages where its rows fill more than one."""
    columns = "l" * grid.words + "r" * (len(grid.header) - grid.words)
    lines = [" & ".join(map(escape, line)) + r" \\" for line in grid.rows]
    header = " & ".join(_stacked(grid, column) for column in range(len(grid.header))) + r" \\"
    caption, label = rf"\caption{{{escape(grid.caption)}}}", rf"\label{{{label}}}"
    small = rf"\begin{{minipage}}{{\linewidth}}\footnotesize {escape(notes)}\end{{minipage}}" if notes else ""
    if len(lines) > MOST_ROWS:
        head = [r"\toprule", header, r"\midrule"]
        return "\n".join(
            [
                r"\begingroup\small",
                rf"\begin{{longtable}}{{{columns}}}",
                rf"{caption}{label} \\",
                *head,
                r"\endfirsthead",
                *head,
                r"\endhead",
                r"\bottomrule",
                r"\endfoot",
                *lines,
                r"\end{longtable}",
                *([rf"\par\noindent{small}"] if small else []),
                r"\endgroup",
            ]
        )
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            caption,
            label,
            r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            header,
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}}",
            *([rf"\par\smallskip{small}"] if small else []),
            r"\end{table}",
        ]
    )


def _stacked(grid: Grid, column: int) -> str:
    """The header of a column, in lines about as wide as what stands below it."""
    width = max(NARROWEST, *(len(row[column]) for row in grid.rows))
    lines = [escape(line) for line in textwrap.wrap(grid.header[column], width, break_long_words=False)]
    stacked = r" \\ ".join(lines)
    return rf"\shortstack[{'l' if column < grid.words else 'r'}]{{{stacked}}}" if len(lines) > 1 else stacked


def escape(text: str) -> str:
    """Text as LaTeX shows it, character by character."""
    return MINUS.sub("$-$", "".join(TEX.get(character, character) for character in text))


def mean_sd(mean: float | None, sd: float | None, over: str = "", sign: str = "") -> str:
    """`43.14 ± 0.03 (n 3)`, less what is None or empty."""
    if mean is None:
        return NONE
    spread = f" ± {sd:.2f}" if sd is not None else ""
    return f"{mean:{sign}.2f}{spread}{f' ({over})' if over else ''}"


def count(runs: int | None, repeats: str | None) -> str:
    """`n 3` of seeds, `5 folds` of folds; empty where there are no runs."""
    if runs is None:
        return ""
    return f"{runs} fold{'s' if runs > 1 else ''}" if repeats == "folds" else f"n {runs}"


def number(value: float | None, form: str) -> str:
    return NONE if value is None else format(value, form)


def rate(value: float | None) -> str:
    """Three significant digits, one decimal from 100 on, as the paper has it."""
    return NONE if value is None else f"{value:.1f}" if value >= 100 else f"{value:#.3g}"


def span(low: float | None, high: float | None, sign: str = "") -> str:
    return NONE if low is None or high is None else f"{low:{sign}.2f} to {high:{sign}.2f}"


def rate_span(median: float | None, low: float | None, high: float | None) -> str:
    return NONE if median is None else f"{rate(median)} ({rate(low)} to {rate(high)})"
