"""The tables stage: the paper's Table 1 beside the reproduced numbers, what stands behind it, and the verdict.

And what DVC's own views show: a few named numbers for `dvc metrics diff`, and three tables for `dvc plots show`.
"""

from __future__ import annotations

import pandas as pd

from harness.base import paths
from harness.base.files import write_json, write_text
from harness.config.params import Params
from harness.records.schemas import LIVE_HISTORY
from harness.report.frames import Frames, load_frames
from harness.report.made_by import MadeBy, made_by
from harness.report.paper_tables.comparisons import comparisons
from harness.report.paper_tables.parameters import parameters
from harness.report.paper_tables.per_run import per_class, per_seed
from harness.report.paper_tables.printed import printed
from harness.report.paper_tables.table import Table, write_table
from harness.report.paper_tables.table1 import CHANCE, table1, table1_rows
from harness.report.paper_tables.throughput import throughput
from harness.report.selection import Selection
from harness.report.show import ANSWER, PRINTED
from harness.report.verdict import answer, verdict, verdict_page

POSITIONS = ["backbone", "seed", "stage", "epoch", "mean_displacement_cells"]
NUMBERS = {  # of the metrics: the columns of table 1 with the value and the ends of its interval
    "mAP_percent": ("map_mean", "map_low", "map_high"),
    "mAP_points_minus_baseline": ("map_difference_mean", "map_difference_low", "map_difference_high"),
    "speed_over_baseline": ("speed_ratio_527", "speed_ratio_527_low", "speed_ratio_527_high"),
}


def tables(chosen: Params | Selection) -> None:
    """Write paper_tables/PRESET: each table as CSV, Markdown and LaTeX, table1.txt (what `show` prints),
    provenance.json, verdict.md and answer.txt, its first sentence; and what DVC's own views show, into results/PRESET.

    Raises UserError where a result file is missing, or is of other runs than another.
    """
    frames = load_frames(chosen)
    by = made_by(frames)
    found = report_tables(frames, by)
    folder, names = paths.tables(chosen.preset), []
    claims = verdict(frames)
    for table in found:
        names += write_table(folder, table, chosen.preset)
    write_text(folder / PRINTED, printed(frames, by))
    write_json(folder / "provenance.json", {table.name: table.provenance for table in found})
    write_text(folder / "verdict.md", verdict_page(frames, claims, by))
    write_text(folder / ANSWER, f"{answer(frames, claims)}\n")
    _write_dvc_views(frames)
    print(f"{folder}: {', '.join(names)}, {PRINTED}, provenance.json, verdict.md, {ANSWER}")


def report_tables(frames: Frames, by: MadeBy) -> list[Table]:
    """All tables: the paper's first, on other data than its own the systems that ran; that of the classes last."""
    first = [table1(frames, by), comparisons(frames, by)]
    found = [*(first if frames.kind == "audioset" else first[::-1]), parameters(frames), throughput(frames, by)]
    return [*found, per_seed(frames, by), per_class(frames, by)]


def _write_dvc_views(frames: Frames) -> None:
    """Write results/PRESET/summary.json and results/PRESET/plots/*.csv.

    Raises UserError where a history.csv or positions.csv cannot be read.
    """
    folder = paths.results(frames.preset)
    histories = frames.histories.assign(val_mAP_percent=100 * frames.histories.val_mAP)
    positions = frames.positions[frames.positions.model.isin(frames.main.values())]
    positions = positions.rename(columns={"mean_displacement": "mean_displacement_cells"})
    classes = frames.differences_by_class(frames.headline_pairs).dropna(subset="difference")
    classes = classes.rename(columns={"difference": "difference_points"})
    plots = {
        "history": histories[list(LIVE_HISTORY)],
        "positions": positions[POSITIONS],
        "class_differences": classes[["backbone", "label", "difference_points", "low", "high"]],
    }
    write_json(folder / "summary.json", _headline(frames))
    for name, plot in plots.items():
        write_text(folder / "plots" / f"{name}.csv", plot.to_csv(index=False))


def _headline(frames: Frames) -> dict[str, dict[str, float]]:
    """What a reader of a diff wants to know: mAP in percent by model; against its baseline, mAP and speed; each with
    the ends of its 95% interval, where it has one."""
    rows = [row for row in table1_rows(frames) if row.model != CHANCE]
    found = {}
    for name, (value, low, high) in NUMBERS.items():
        for end, column in (("", value), ("_low", low), ("_high", high)):
            found[name + end] = {row.model: getattr(row, column) for row in rows if pd.notna(getattr(row, column))}
    return {name: values for name, values in found.items() if values}
