"""How the DCLS kernels change as training goes on: displacement, support, gradients."""

from __future__ import annotations

from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from harness.report.figures import theme
from harness.report.frames import Frames

LEVELS = ("q05", "q25", "q50", "q75", "q95")
QUANTITIES = {  # in positions.csv: its mean, its quantiles or "", factor to the axis, label of the axis
    "mean_displacement": ("displacement", 1, "distance from\nstart (cells)"),
    "moved": ("", 100, "moved more than\na cell (%)"),
    "mean_support": ("support", 100, "effective support\n(% of the cells)"),
    "mean_spread": ("spread", 1, "spread |SIG|\n(cells)"),
    "gradient": ("", 1, "gradient of P\n(root mean square)"),
}
SHARES = ("moved",)  # of which the axis holds at least one percent


def kernel_motion(frames: Frames, model: str) -> Figure | None:
    """A row a quantity, a column a stage; the median with its bands of quantiles, where they were recorded, else the
    mean; each the mean over seeds.

    None where there is no epoch but one.
    """
    positions = frames.positions[frames.positions.model == model].dropna(axis="columns", how="all")
    if positions.epoch.nunique() < 2:
        return None
    parts = {}
    for name in (name for name in QUANTITIES if name in positions):
        quantiles, factor, _ = QUANTITIES[name]
        columns = {f"{quantiles}_{level}": level for level in LEVELS}
        columns = columns if set(columns) <= set(positions) else {name: "mean"}
        parts[name] = factor * positions.groupby(["stage", "epoch"])[[*columns]].mean().rename(columns=columns)
    data = pd.concat(parts, names=["quantity"]).reset_index()
    grid = theme.facets(data, 0.75 + 1.15 * len(parts), row="quantity", col="stage", sharey="row")
    grid.map_dataframe(_draw)
    grid.set_axis_labels("epoch", "")
    theme.label_rows(grid, (QUANTITIES[name][2] for name in parts))
    for (name, part), row in zip(parts.items(), grid.axes, strict=True):
        row[0].set_ylim(0, max(1.0 if name in SHARES else 0.0, 1.08 * part.max(axis=None)) or None)
    for axes, stage in zip(grid.axes[0], grid.col_names, strict=True):
        axes.set_title(f"stage {stage}")
        theme.whole_numbers(axes)
    theme.shared_legend(grid.figure)
    return grid.figure


def _draw(data: pd.DataFrame, **_: object) -> None:
    """Quantiles of one stage, or their mean."""
    line = {"x": "epoch", "color": theme.DCLS, "errorbar": None, "legend": False, "ax": plt.gca()}
    if "q50" not in data or data.q50.isna().all():
        label = "mean"
        sns.lineplot(data, y="mean", marker="o", markersize=2.5, markeredgewidth=0, label=label, **line)
        return
    for low, high, alpha, label in (("q05", "q95", 0.18, "5% to 95%"), ("q25", "q75", 0.35, "middle half")):
        band: Any = {"color": theme.DCLS, "alpha": alpha, "linewidth": 0, "label": label}
        plt.gca().fill_between(data.epoch, data[low], data[high], **band)
    sns.lineplot(data, y="q50", label="median", **line)
