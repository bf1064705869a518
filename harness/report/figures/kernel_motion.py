"""How the DCLS kernels change as training goes on: how far elements move, what the kernels use, what pulls at them."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from harness.report.figures import theme
from harness.report.frames import Frames

QUANTITIES = {  # of positions.csv: prefix of its quantiles or the one column, factor to the axis, label of the axis
    "moved": (100, "moved by more\nthan a cell (%)"),
    "displacement": (1, "distance from\nstart (cells)"),
    "support": (100, "effective support\n(% of the cells)"),
    "spread": (1, "spread |SIG|\n(cells)"),
}
OF_FIXED = "support"  # of fixed spacings, nothing else changes
MEANS = ("mean_displacement", "mean_support", "mean_spread")  # that older runs have instead of quantiles


def kernel_motion(frames: Frames, backbone: str) -> Figure | None:
    """A row a quantity, a column a stage, a line a DCLS system: the share, or the median of the elements in a band of
    its middle half, each the mean over seeds.

    Quantities that are 0 throughout are left out. None where there is no epoch but one.
    """
    data = _long(frames, frames.positions[frames.positions.backbone == backbone])
    data = data[data["quantity"].isin(data[data.high > 0]["quantity"])]  # a row of zeros says nothing
    if data.empty or data.epoch.nunique() < 2:
        return None
    wanted = [name for name in QUANTITIES if name in set(data["quantity"])]
    layout = {"row": "quantity", "row_order": wanted, "col": "stage", "sharey": "row"}
    palette = theme.of_methods(frames)
    grid = theme.facets(data, 0.75 + 1.15 * len(wanted), hue="method", palette=palette, **layout)
    grid.map_dataframe(_draw)
    grid.set_axis_labels("epoch", "")
    theme.label_rows(grid, (QUANTITIES[name][1] for name in wanted))
    for name, row in zip(wanted, grid.axes, strict=True):
        highest = data[data["quantity"] == name][["middle", "high"]].max(axis=None)
        row[0].set_ylim(0, 1.08 * highest)
    for axes, stage in zip(grid.axes[0], grid.col_names, strict=True):
        axes.set_title(f"stage {stage}")
        theme.whole_numbers(axes)
    theme.shared_legend(grid.figure, order=palette)
    return grid.figure


def _long(frames: Frames, positions: pd.DataFrame) -> pd.DataFrame:
    """A row a quantity, system, stage and epoch: `middle` and the ends of a band, NaN where there is none."""
    found = []
    for name, (factor, _) in QUANTITIES.items():
        columns = [name, name, name]
        if f"{name}_q50" in positions:
            columns = [f"{name}_{level}" for level in ("q50", "q25", "q75")]
        elif f"mean_{name}" in positions:
            columns = [f"mean_{name}"] * 3
        if columns[0] not in positions or positions[columns[0]].isna().all():
            continue
        for (model, method, stage, epoch), rows in positions.groupby(["model", "method", "stage", "epoch"], sort=False):
            dcls = frames.systems[model].model.dcls
            if name == OF_FIXED or (dcls and dcls.position_rate):
                found.append((name, method, stage, epoch, *(factor * rows[one].mean() for one in columns)))
    return pd.DataFrame(found, columns=["quantity", "method", "stage", "epoch", "middle", "low", "high"])


def _draw(data: pd.DataFrame, color: Any, label: str) -> None:
    plt.gca().fill_between(data.epoch, data.low, data.high, color=color, alpha=0.2, linewidth=0)
    plt.gca().plot(data.epoch, data.middle, color=color, label=label)


def position_gradients(frames: Frames) -> Figure | None:
    """A panel a backbone, a line a stage: the root mean square of the gradient of the main system's positions at the
    last step of each recorded epoch, mean over seeds; None where none was recorded."""
    positions = frames.positions[frames.positions.model.isin(frames.main.values())]
    if "gradient" not in positions or positions.gradient.isna().all():
        return None
    data = positions.dropna(subset="gradient").groupby(["backbone", "stage", "epoch"], sort=False).gradient.mean()
    data = data.reset_index().assign(stage=lambda one: [f"stage {stage:.0f}" for stage in one.stage])
    stages = dict(zip(sorted(set(data.stage)), theme.STAGES, strict=False))
    grid = theme.facets(data, 2.4, col="backbone", hue="stage", palette=stages)
    grid.map(plt.plot, "epoch", "gradient", marker="o", ms=3)
    for axes in grid.axes.flat:
        axes.set(yscale="log", xlabel="epoch")
        theme.whole_numbers(axes)
    theme.label_rows(grid, ["gradient of positions\n(root mean square)"])
    theme.shared_legend(grid.figure)
    return grid.figure
