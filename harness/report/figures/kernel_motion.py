"""How the DCLS kernels change as training goes on: displacement, spread, effective support, share at the border."""

from __future__ import annotations

import matplotlib
import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from harness.report.figures import theme
from harness.report.frames import Frames

LEVELS = ("q05", "q25", "q50", "q75", "q95")
WIDE, NARROW = 0.18, 0.35  # opacities of the two bands
QUANTITIES = {  # in positions.csv: its mean, its quantiles or "", factor to the axis, label of the axis
    "mean_displacement": ("displacement", 1, "distance from\nstart (cells)"),
    "mean_spread": ("spread", 1, "spread |SIG|\n(cells)"),
    "mean_support": ("support", 100, "effective support\n(% of the cells)"),
    "at_border": ("", 100, "elements at the\nborder (%)"),
}


def kernel_motion(frames: Frames, model: str) -> Figure | None:
    """A row a quantity, a column a stage; the median with its bands of quantiles, where they were recorded, else the
    mean; each the mean over seeds.

    None where there is no epoch but one.
    """
    positions = frames.positions[frames.positions.model == model]
    if positions.epoch.nunique() < 2:
        return None
    shown = [name for name in QUANTITIES if name in positions and positions[name].notna().all()]
    parts = []
    for name in shown:
        quantiles, factor, _ = QUANTITIES[name]
        columns = [f"{quantiles}_{level}" for level in LEVELS]
        if not set(columns) <= {*positions.columns[positions.notna().all()]}:
            columns = [name]
        part = factor * positions.groupby(["stage", "epoch"])[columns].mean()
        part.columns = list(LEVELS) if len(columns) > 1 else ["mean"]
        parts.append(part.reset_index().assign(quantity=name))
    data = pd.concat(parts, ignore_index=True)
    grid = theme.facets(data, 0.75 + 1.15 * len(shown), row="quantity", col="stage", sharey="row")
    grid.map_dataframe(_panel)
    grid.set_axis_labels("epoch", "")
    theme.label_rows(grid, (QUANTITIES[name][2] for name in shown))
    for name, row in zip(shown, grid.axes, strict=True):
        highest = data.loc[data.quantity == name, [one for one in (*LEVELS, "mean") if one in data]].max(axis=None)
        row[0].set_ylim(0, max(1.0 if name == "at_border" else 0.0, 1.08 * highest) or None)
    for axes, stage in zip(grid.axes[0], grid.col_names, strict=True):
        axes.set_title(f"stage {stage}")
        theme.whole_numbers(axes)
    grid.figure.legend(handles=_legend("q50" in data), loc="outside upper center", ncols=4)
    return grid.figure


def _panel(data: pd.DataFrame, **_: object) -> None:
    """Quantiles of one stage, or their mean."""
    axes = plt.gca()
    if "q50" in data and data.q50.notna().all():
        axes.fill_between(data.epoch, data.q05, data.q95, color=theme.DCLS, alpha=WIDE, linewidth=0)
        axes.fill_between(data.epoch, data.q25, data.q75, color=theme.DCLS, alpha=NARROW, linewidth=0)
        sns.lineplot(data, x="epoch", y="q50", color=theme.DCLS, errorbar=None, ax=axes)
    else:
        sns.lineplot(data, x="epoch", y="mean", color=theme.DCLS, marker="o", ms=2.5, mew=0, errorbar=None, ax=axes)


def _legend(with_bands: bool) -> list[Artist]:
    mean = Line2D([], [], color=theme.DCLS, marker="o", ms=2.5, label="share" if with_bands else "mean")
    if not with_bands:
        return [mean]
    wide, narrow = (matplotlib.colors.to_rgba(theme.DCLS, alpha) for alpha in (WIDE, NARROW + WIDE))
    median = Line2D([], [], color=theme.DCLS, label="median")
    return [median, Patch(color=narrow, label="middle half"), Patch(color=wide, label="5% to 95%"), mean]
