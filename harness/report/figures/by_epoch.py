"""What goes on with the epochs: learning curves, differences between systems, and how the DCLS kernels change."""

from __future__ import annotations

from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from harness.report.decisions import seed_interval
from harness.report.figures import theme
from harness.report.frames import Frames

MEASURES = {"train_loss": "training loss\n(binary cross-entropy)", "val_mAP_percent": "validation mAP (%)"}
BAND: dict[str, Any] = {"alpha": 0.2, "linewidth": 0}
QUANTITIES = {  # of positions.csv: prefix of its quantiles or the one column, factor to the axis, label of the axis
    "moved": (100, "moved by more\nthan a cell (%)"),
    "displacement": (1, "distance from\nstart (cells)"),
    "support": (100, "effective support\n(% of the cells)"),
    "spread": (1, "spread |SIG|\n(cells)"),
}
OF_FIXED = "support"  # of fixed spacings, nothing else changes


def learning_curves(frames: Frames) -> Figure | None:
    """A column a backbone, loss above mAP: the mean over seeds, in a band from the lowest seed to the highest.

    Epochs that some seed lacks are left out. None where nothing was trained here.
    """
    histories = _histories(frames)
    if histories.empty:
        return None
    curves = histories.melt(["backbone", "method", "epoch"], list(MEASURES), "measure")
    palette = theme.of_methods(frames)
    layout = {"row": "measure", "col": "backbone", "hue": "method", "palette": palette}
    grid = theme.facets(curves, 3.9, sharex="col", sharey="row", **layout)
    dots = "o" if curves.groupby(["backbone", "method"]).epoch.nunique().min() == 1 else ""  # a line of one point
    grid.map_dataframe(sns.lineplot, x="epoch", y="value", marker=dots, errorbar=("pi", 100), err_kws=BAND)
    theme.label_rows(grid, MEASURES.values())
    for axes in grid.axes[-1]:
        axes.set_xlabel("epoch")
        theme.whole_numbers(axes)
    theme.shared_legend(grid.figure, order=palette)
    return grid.figure


def differences_by_epoch(frames: Frames) -> Figure | None:
    """A row a comparison, those of the main systems first, a column a backbone: the difference of the validation mAPs
    at equal epochs, mean over seeds in its 95% interval. Fair pairs alone.

    None where there is no such pair, or less than two seeds.
    """
    found = _differences(frames)
    if found.empty:
        return None
    rows, palette = list(found["row"].unique()), theme.of_methods(frames)
    layout = {"row": "row", "col": "backbone", "hue": "method", "palette": palette}
    grid = theme.facets(found, 0.7 + 1.25 * len(rows), sharex="col", sharey="row", **layout)
    grid.map_dataframe(_line_in_a_band)
    theme.label_rows(grid, rows)
    for axes in grid.axes.flat:
        if not axes.lines:
            axes.text(0.5, 0.5, "no such pair", transform=axes.transAxes, ha="center", color=theme.GREY, fontsize=7)
        axes.axhline(0, color=theme.GREY, linewidth=0.9, zorder=0.5)
        axes.yaxis.label.set_fontsize(7)
    for axes in grid.axes[-1]:
        theme.whole_numbers(axes)
    grid.figure.supxlabel("epoch", fontsize=8)
    grid.figure.supylabel("difference in validation mAP (percentage points)", fontsize=8)
    return grid.figure


def kernel_motion(frames: Frames, backbone: str) -> Figure | None:
    """A row a quantity, a column a stage, a line a DCLS system: the share, or the median of the elements in a band of
    its middle half, each the mean over seeds.

    Quantities that are 0 throughout are left out. None where there is no epoch but one.
    """
    data = _quantities(frames, frames.positions[frames.positions.backbone == backbone])
    data = data[data["quantity"].isin(data[data.high > 0]["quantity"])]  # a row of zeros says nothing
    if data.empty or data.epoch.nunique() < 2:
        return None
    palette, wanted = theme.of_methods(frames), list(data["quantity"].unique())
    layout = {"row": "quantity", "col": "stage", "sharey": "row", "hue": "method", "palette": palette}
    grid = theme.facets(data, 0.75 + 1.15 * len(wanted), **layout)
    grid.map_dataframe(_line_in_a_band)
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


def _histories(frames: Frames) -> pd.DataFrame:
    """Of the epochs that all seeds have."""
    histories = frames.histories.assign(val_mAP_percent=100 * frames.histories.val_mAP)
    seeds = histories.groupby(["model", "epoch"]).seed.transform("nunique")
    return histories[seeds == len(frames.seeds)]


def _differences(frames: Frames) -> pd.DataFrame:
    """A row a fair pair and epoch: `row` that it belongs to, `middle`, `low` and `high`."""
    maps = _histories(frames).set_index(["model", "seed", "epoch"]).val_mAP_percent
    found, known = [], set(maps.index.unique("model"))
    fair = frames.points[frames.points.unfair == ""]
    first = fair.assign(other=~fair.model.isin(frames.main.values())).sort_values("other", kind="stable")
    for pair in first.itertuples() if len(frames.seeds) > 1 else ():
        if {pair.model, pair.baseline} <= known:
            for epoch, one in (maps[pair.model] - maps[pair.baseline]).unstack("seed").dropna().iterrows():
                found.append((pair.backbone, theme.minus(pair), pair.method, epoch, one.mean(), *seed_interval(one)))
    return pd.DataFrame(found, columns=["backbone", "row", "method", "epoch", "middle", "low", "high"])


def _quantities(frames: Frames, positions: pd.DataFrame) -> pd.DataFrame:
    """A row a quantity, system, stage and epoch: `middle` and the ends of a band, NaN where there is none."""
    found = []
    for name, (factor, _) in QUANTITIES.items():
        forms = ([f"{name}_{level}" for level in ("q50", "q25", "q75")], [f"mean_{name}"] * 3, [name] * 3)
        columns = next((form for form in forms if form[0] in positions), None)  # older runs have no quantiles
        if columns is None or positions[columns[0]].isna().all():
            continue
        for (model, method, stage, epoch), rows in positions.groupby(["model", "method", "stage", "epoch"], sort=False):
            if name == OF_FIXED or frames.learns_spacings(str(model)):
                found.append((name, method, stage, epoch, *(factor * rows[one].mean() for one in columns)))
    return pd.DataFrame(found, columns=["quantity", "method", "stage", "epoch", "middle", "low", "high"])


def _line_in_a_band(data: pd.DataFrame, color: Any, label: str) -> None:
    plt.gca().fill_between(data.epoch, data.low, data.high, color=color, **BAND)
    plt.gca().plot(data.epoch, data.middle, color=color, label=label)
