"""Table 1 as `show` prints it: at most 100 columns, and below it what made it."""

from __future__ import annotations

import textwrap
from typing import Any

import pandas as pd

from harness.report.frames import Frames
from harness.report.made_by import MadeBy
from harness.report.paper_tables.numbers import NONE, count, mean_sd, millions, number, rate
from harness.report.paper_tables.table1 import table1_rows

WIDTH = 100
LEFT = (0, 1, 6)  # columns aligned at their left


def printed(frames: Frames, by: MadeBy) -> str:
    here = f"here, {count(len(frames.seeds), frames.repeats)}"
    cells = [
        ("", "mAP %", "mAP %", "param.", "clips/s", "speed", "mAP"),
        ("model", here, "paper", "full", "full", "ratio", "DCLS - baseline"),
        *map(_cells, table1_rows(frames)),
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for line in cells:
        padded = [
            cell.ljust(width) if column in LEFT else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        lines.append("  ".join(padded).rstrip())
    lines.append("")
    points = [f"{one.name} {100 * one.mAP:.2f}" for one in frames.references.itertuples(index=False)]
    references = [f"Reference points, not of this run (mAP %): {'; '.join(points)}."] if points else []
    for sentence in (by.line, *references, *by.warnings, *by.disagreements):
        lines.append(textwrap.fill(sentence, WIDTH, subsequent_indent="  "))
    return "\n".join(lines) + "\n"


def _cells(row: Any) -> tuple[str, ...]:
    """Empty instead of a dash where there is no number."""
    compared = "" if pd.isna(row.map_difference_in_words) else row.map_difference_in_words
    cells = (
        mean_sd(row.map_mean, row.map_sd),
        number(row.map_published, ".2f"),
        millions(row.parameters_1000),
        rate(row.throughput_527),
        number(row.speed_ratio_527, ".2f"),
        f"{number(row.map_difference_mean, '+.2f')} {compared}".strip(),
    )
    return (row.model, *("" if cell == NONE else cell for cell in cells))
