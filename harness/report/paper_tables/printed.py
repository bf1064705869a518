"""Table 1 as `show` prints it: at most 100 columns, and below it what made it."""

from __future__ import annotations

import textwrap
from typing import Any

import pandas as pd
from tabulate import tabulate

from harness.report.frames import Frames
from harness.report.made_by import MadeBy
from harness.report.paper_tables.numbers import NONE, mean_sd, millions, number, number_of_runs, rate, span, words
from harness.report.paper_tables.table1 import table1_rows

WIDTH = 100
ALIGNED = ("left", "left", "right", "right", "right", "right", "left")


def printed(frames: Frames, by: MadeBy) -> str:
    here = f"here, {number_of_runs(len(frames.seeds), frames.repeats)}"
    cells = [
        ("", "mAP %", "mAP %", "param.", "clips/s", "speed", "mAP - baseline"),
        ("model", here, "paper", "full", "full", "ratio", "(95% interval)"),
        *map(_cells, table1_rows(frames)),
    ]
    table = tabulate(cells, tablefmt="plain", colalign=ALIGNED, disable_numparse=True)
    lines = [line.rstrip() for line in table.splitlines()]
    points = [f"{one.name} {100 * one.mAP:.2f}" for one in frames.references.itertuples()]
    references = [f"Reference points, not of this run (mAP %): {'; '.join(points)}."] if points else []
    interval = (
        f"In brackets: the 95% interval over {frames.repeats} and clips. Where 0 lies in it, these runs decide nothing."
    )
    sentences = (by.line, interval, *references, *by.warnings, *by.disagreements)
    lines += ["", *(textwrap.fill(sentence, WIDTH, subsequent_indent="  ") for sentence in sentences)]
    return "\n".join(lines) + "\n"


def _cells(row: Any) -> tuple[str, ...]:
    """Empty instead of a dash where there is no number."""
    cells = (
        mean_sd(row.map_mean, row.map_sd),
        number(row.map_published, ".2f"),
        millions(row.parameters_1000),
        rate(row.throughput_527),
        number(row.speed_ratio_527, ".2f"),
        _difference(row),
    )
    return (row.model, *("" if cell == NONE else cell for cell in cells))


def _difference(row: Any) -> str:
    """With its interval, which says by itself that nothing is decided; `higher` and `lower` in words."""
    found, said = number(row.map_difference_mean, "+.2f"), words(row.map_difference_in_words, "")
    if pd.isna(row.map_difference_low):
        return said if found == NONE else f"{found} {said}"
    interval = f"({span(row.map_difference_low, row.map_difference_high, '+')})"
    return " ".join([found, interval, *([said] if said in ("higher", "lower") else [])])
