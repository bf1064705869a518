"""The tables stage: the paper's Table 1 beside the reproduced numbers, as CSV, Markdown and LaTeX."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.files import write_csv, write_text
from harness.params import Params
from harness.report.load import is_dcls, load_results, table_folder
from harness.report.made_by import MadeBy, made_by
from harness.report.summary import RULE, Row, summary

NONE = "-"
TITLE = "Table 1 of arXiv 2309.13972: published and reproduced"
NOTES = (
    "mAP is in percent; ± is the standard deviation over n seeds.",
    "Parameters and throughput are those of the full-size models, whatever was trained; the published parameters "
    "count the 1000-class heads.",
    "Throughput is in clips (128x1001 log-mel) a second, the median of the timed batches. The published one is from "
    "the authors' GPU: only the ratios compare.",
)
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


def tables(params: Params) -> None:
    """Write paper_tables/PRESET/table1.csv, .md and .tex. Raises UserError where a result file is missing."""
    results = load_results(params)
    rows, by = summary(results), made_by(results)
    folder, names = table_folder(params.preset), [field.name for field in dataclasses.fields(Row)]
    write_csv(folder / "table1.csv", names, (dataclasses.asdict(row) for row in rows))  # None: an empty cell
    write_text(folder / "table1.md", markdown(rows, by, params.preset))
    write_text(folder / "table1.tex", latex(rows, by, params.preset))
    print(f"{folder}: table1.csv, table1.md, table1.tex")


def grids(rows: Sequence[Row]) -> list[Grid]:
    """What Markdown and LaTeX show: the paper's table, DCLS against baseline, and the details."""
    models = [row for row in rows if row.parameters_527 is not None]
    found = [_main(rows)]
    if any(is_dcls(row.model) for row in models):
        found.append(_comparison([row for row in models if is_dcls(row.model)]))
    return [*found, _details(rows)]


def markdown(rows: Sequence[Row], by: MadeBy, preset: str) -> str:
    """The page: what made it, warnings, tables with aligned columns (readable in a terminal too), notes."""
    parts = [f"# {TITLE} ({preset})"]
    parts.append("\n".join(f"- **{heading}**: {text}." for heading, text in by.facts))
    parts += [f"> **Warning.** {sentence}" for sentence in (*by.warnings, *by.disagreements)]
    for grid in grids(rows):
        parts += [f"**{grid.caption}**", _markdown_grid(grid)]
    parts.append("\n".join(f"- {note}" for note in (*NOTES, RULE)))
    return "\n\n".join(parts) + "\n"


def latex(rows: Sequence[Row], by: MadeBy, preset: str) -> str:
    """Table floats to \\input into a document that loads booktabs and graphicx; what made them under the first."""
    found = grids(rows)
    below = [""] * len(found)
    below[0] = " ".join((*(f"{heading}: {text}." for heading, text in by.facts), *by.warnings, *by.disagreements))
    below[-1] = " ".join((*NOTES, RULE))
    parts = [f"% {TITLE} ({preset}). Needs \\usepackage{{booktabs,graphicx}}."]
    for place, (grid, text) in enumerate(zip(found, below, strict=True), 1):
        parts.append(_latex_grid(grid, f"tab:dcls-{preset}-{place}", text))
    return "\n\n".join(parts) + "\n"


def _main(rows: Iterable[Row]) -> Grid:
    header = (
        "model",
        "kernel size / count",
        "mAP published",
        "mAP reproduced",
        "mAP / chance",
        "parameters published",
        "reproduced (1000 / 527 classes)",
        "throughput published",
        "reproduced (527 classes)",
    )
    return Grid("The paper's table: published and reproduced", header, tuple(_main_cells(row) for row in rows), words=2)


def _main_cells(row: Row) -> tuple[str, ...]:
    parameters = NONE
    if row.parameters_1000 is not None and row.parameters_527 is not None:
        parameters = f"{_millions(row.parameters_1000)} / {_millions(row.parameters_527)}"
    return (
        row.model,
        _kernel(row),
        mean_sd(row.map_published, row.map_sd_published),
        reproduced_map(row),
        number(row.map_over_chance, ".1f"),
        _millions(row.parameters_published),
        parameters,
        number(row.throughput_published, ".1f"),
        rate(row.throughput_527),
    )


def _comparison(rows: Iterable[Row]) -> Grid:
    header = (
        "DCLS against its baseline",
        "mAP, in words",
        "mAP difference published",
        "reproduced",
        "95% interval",
        "speed ratio published",
        "reproduced (527 classes)",
        "(1000 classes)",
    )
    cells = tuple(
        (
            row.model,
            row.map_difference_in_words or "baseline not run",
            number(row.map_difference_published, "+.2f"),
            mean_sd(row.map_difference_mean, row.map_difference_sd, row.map_difference_seeds, sign="+"),
            span(row.map_difference_low, row.map_difference_high, sign="+"),
            number(row.speed_ratio_published, ".2f"),
            number(row.speed_ratio_527, ".2f"),
            number(row.speed_ratio_1000, ".2f"),
        )
        for row in rows
    )
    return Grid("DCLS minus baseline (mAP), DCLS over baseline (speed)", header, cells, words=2)


def _details(rows: Iterable[Row]) -> Grid:
    header = (
        "model",
        "mAP: the seeds' 95% intervals over clips span",
        "parameters trained",
        "parameters, 527 classes",
        "1000 classes",
        "throughput, 527 classes (quartiles)",
        "1000 classes (quartiles)",
    )
    cells = tuple(
        (
            row.model,
            span(row.map_intervals_lowest, row.map_intervals_highest),
            number(row.parameters_trained, ","),
            number(row.parameters_527, ","),
            number(row.parameters_1000, ","),
            _quartiles(row.throughput_527, row.throughput_527_low, row.throughput_527_high),
            _quartiles(row.throughput_1000, row.throughput_1000_low, row.throughput_1000_high),
        )
        for row in rows
        if row.map_intervals_lowest is not None
    )
    return Grid("Details of the reproduced columns", header, cells)


def reproduced_map(row: Row) -> str:
    return mean_sd(row.map_mean, row.map_sd, row.map_seeds)


def mean_sd(mean: float | None, sd: float | None, n: int | None = None, sign: str = "") -> str:
    """`43.14 ± 0.03 (n 3)`, less what is None."""
    if mean is None:
        return NONE
    spread = f" ± {sd:.2f}" if sd is not None else ""
    return f"{mean:{sign}.2f}{spread}{f' (n {n})' if n is not None else ''}"


def number(value: float | None, form: str) -> str:
    return NONE if value is None else format(value, form)


def rate(value: float | None) -> str:
    """Three significant digits, one decimal from 100 on, as the paper has it."""
    return NONE if value is None else f"{value:.1f}" if value >= 100 else f"{value:#.3g}"


def span(low: float | None, high: float | None, sign: str = "") -> str:
    return NONE if low is None or high is None else f"{low:{sign}.2f} to {high:{sign}.2f}"


def _quartiles(median: float | None, low: float | None, high: float | None) -> str:
    return NONE if median is None else f"{rate(median)} ({rate(low)} to {rate(high)})"


def _millions(count: float | None) -> str:
    return NONE if count is None else f"{count / 1e6:.1f}M"


def _kernel(row: Row) -> str:
    if row.kernel_size is None:
        return NONE
    published, here = (
        f"{size} / {count}"
        for size, count in (
            (row.kernel_size_published, row.kernel_count_published),
            (row.kernel_size, row.kernel_count),
        )
    )
    return here if here == published else f"{published}, here {here}"


def _markdown_grid(grid: Grid) -> str:
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


def _latex_grid(grid: Grid, label: str, notes: str) -> str:
    columns = "l" * grid.words + "r" * (len(grid.header) - grid.words)
    lines = [" & ".join(map(escape, line)) + r" \\" for line in (grid.header, *grid.rows)]
    parts = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape(grid.caption)}}}",
        rf"\label{{{label}}}",
        r"\resizebox{\linewidth}{!}{%",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        lines[0],
        r"\midrule",
        *lines[1:],
        r"\bottomrule",
        r"\end{tabular}}",
    ]
    if notes:
        parts.append(rf"\par\smallskip\begin{{minipage}}{{\linewidth}}\footnotesize {escape(notes)}\end{{minipage}}")
    return "\n".join([*parts, r"\end{table}"])


def escape(text: str) -> str:
    """Text as LaTeX shows it, character by character."""
    return MINUS.sub("$-$", "".join(TEX.get(character, character) for character in text))
