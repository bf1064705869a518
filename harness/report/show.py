"""`python -m harness show`: the results in a terminal. Imports nothing heavy, since it ends every `make repro`."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from harness.base import paths
from harness.config.params import Params
from harness.report.grid import count, mean_sd, number, rate
from harness.report.load import Results, load_results, table_folder
from harness.report.made_by import made_by
from harness.report.summary import Row, summary

COLUMNS = 100
LEFT = (0, 1, 6)  # columns aligned at their left


def show(params: Params) -> None:
    """Print a table of at most 100 columns, what made it, and where the report lies.

    Raises UserError where a result file is missing.
    """
    results = load_results(params)
    by = made_by(results)
    here = f"here, {count(len(results.seeds), results.repeats)}"
    lines = [
        ("", "mAP %", "mAP %", "param.", "clips/s", "speed", "mAP"),
        ("model", here, "paper", "full", "full", "ratio", "DCLS - baseline"),
        *map(_cells, summary(results)),
    ]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        padded = [
            cell.ljust(width) if column in LEFT else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        print("  ".join(padded).rstrip())
    print()
    for sentence in (by.line, *_references(results), *by.warnings, *by.disagreements):
        print(textwrap.fill(sentence, COLUMNS, subsequent_indent="  "))
    print(f"table   {table_folder(params.preset) / 'table1.md'}")
    print(f"report  {paths.results(params.preset) / 'report.md'}")
    print(f"page    {paths.results(params.preset) / 'index.html'}")


def _references(results: Results) -> Iterator[str]:
    """One sentence of the preset's reference points, where it has some."""
    points = [f"{one.name} {100 * one.map_mean:.2f}" for one in results.references]
    if points:
        yield f"Reference points, not of this run (mAP %): {'; '.join(points)}."


def _cells(row: Row) -> tuple[str, ...]:
    parameters = "" if row.parameters_1000 is None else f"{row.parameters_1000 / 1e6:.1f}M"
    compared = "" if row.map_difference_mean is None else number(row.map_difference_mean, "+.2f")
    return (
        row.model,
        mean_sd(row.map_mean, row.map_sd),
        "" if row.map_published is None else number(row.map_published, ".2f"),
        parameters,
        "" if row.throughput_527 is None else rate(row.throughput_527),
        "" if row.speed_ratio_527 is None else number(row.speed_ratio_527, ".2f"),
        f"{compared} {row.map_difference_in_words or ''}".strip(),
    )
