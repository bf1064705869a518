"""What DVC's own views show: a few named numbers for `dvc metrics diff`, and three tables for `dvc plots show`."""

from __future__ import annotations

import pandas as pd

from harness.base import paths
from harness.base.files import write_json, write_text
from harness.records.schemas import LIVE_HISTORY
from harness.report.frames import Frames
from harness.report.paper_tables.table1 import CHANCE, table1_rows

POSITIONS = ["backbone", "seed", "stage", "epoch", "mean_displacement_cells"]
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
    """What a reader of a diff wants to know: mAP in percent by model; against its baseline, mAP and speed."""
    rows = table1_rows(frames)
    return {
        "mAP_percent": {row.model: row.map_mean for row in rows if row.model != CHANCE},
        "mAP_points_minus_baseline": {
            row.model: row.map_difference_mean for row in rows if pd.notna(row.map_difference_mean)
        },
        "speed_over_baseline": {row.model: row.speed_ratio_527 for row in rows if pd.notna(row.speed_ratio_527)},
    }


def _differences(frames: Frames) -> pd.DataFrame:
    """In percentage points; of the classes that have one."""
    if not frames.headline_pairs:
        return pd.DataFrame(columns=DIFFERENCES)
    found = frames.class_differences.set_index(["model", "baseline"], drop=False).loc[frames.headline_pairs]
    found = found[found.difference.notna()].rename(columns={"difference": "difference_points"})
    percent = {name: 100 * found[name] for name in DIFFERENCES[2:]}
    return found.assign(**percent)[DIFFERENCES]
