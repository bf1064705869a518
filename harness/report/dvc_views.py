"""What DVC's own views show: a few named numbers for `dvc metrics diff`, and three tables for `dvc plots show`."""

from __future__ import annotations

import pandas as pd

from harness.base import paths
from harness.base.files import write_json, write_text
from harness.records.schemas import LIVE_HISTORY
from harness.report.frames import Frames
from harness.report.paper_tables.table1 import CHANCE, table1_rows

POSITIONS = ["backbone", "seed", "stage", "epoch", "mean_displacement_cells"]
NUMBERS = {  # of the metrics: the columns of table 1 with the value and the ends of its interval
    "mAP_percent": ("map_mean", "map_low", "map_high"),
    "mAP_points_minus_baseline": ("map_difference_mean", "map_difference_low", "map_difference_high"),
    "speed_over_baseline": ("speed_ratio_527", "speed_ratio_527_low", "speed_ratio_527_high"),
}
DIFFERENCES = ["backbone", "label", "difference_points", "low", "high"]


def write_dvc_views(frames: Frames) -> None:
    """Write results/PRESET/summary.json and results/PRESET/plots/*.csv.

    Raises UserError where a history.csv or positions.csv cannot be read.
    """
    folder = paths.results(frames.preset)
    histories = frames.histories.assign(val_mAP_percent=100 * frames.histories.val_mAP)
    positions = frames.positions[frames.positions.model.isin(frames.main.values())]
    positions = positions.rename(columns={"mean_displacement": "mean_displacement_cells"})
    plots = {
        "history": histories[list(LIVE_HISTORY)],
        "positions": positions[POSITIONS],
        "class_differences": _differences(frames),
    }
    write_json(folder / "summary.json", headline(frames))
    for name, plot in plots.items():
        write_text(folder / "plots" / f"{name}.csv", plot.to_csv(index=False))


def headline(frames: Frames) -> dict[str, dict[str, float]]:
    """What a reader of a diff wants to know: mAP in percent by model; against its baseline, mAP and speed; each with
    the ends of its 95% interval, where it has one."""
    rows = [row for row in table1_rows(frames) if row.model != CHANCE]
    found = {}
    for name, (value, low, high) in NUMBERS.items():
        for end, column in (("", value), ("_low", low), ("_high", high)):
            found[name + end] = {row.model: getattr(row, column) for row in rows if pd.notna(getattr(row, column))}
    return {name: values for name, values in found.items() if values}


def _differences(frames: Frames) -> pd.DataFrame:
    """In percentage points; of the classes that have one."""
    if not frames.headline_pairs:
        return pd.DataFrame(columns=DIFFERENCES)
    found = frames.class_differences.set_index(["model", "baseline"], drop=False).loc[frames.headline_pairs]
    found = found[found.difference.notna()].rename(columns={"difference": "difference_points"})
    percent = {name: 100 * found[name] for name in DIFFERENCES[2:]}
    return found.assign(**percent)[DIFFERENCES]
