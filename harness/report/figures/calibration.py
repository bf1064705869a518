"""Calibration: how often classes are there among those that a model gives a score, by the score."""

from __future__ import annotations

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.config.systems import LINEAR_BASELINE
from harness.report.figures import theme
from harness.report.frames import Frames

FEWEST = 20  # pairs of clip and class in a bin that is drawn
LOWEST = 0.005  # where the axes start; bins of lower scores are not drawn


def calibration(frames: Frames) -> Figure | None:
    """A panel a backbone, both axes logarithmic: observed share over mean score, bin by bin, all seeds together.

    Bins without a positive lie below the axis and are not drawn. None where not all runs recorded their calibration.
    """
    bins = frames.calibration
    if not set(frames.models) <= set(bins["model"]):
        return None
    bins = bins.assign(scores=bins["count"] * bins.mean_predicted, positives=bins["count"] * bins.observed)
    sums = ["count", "scores", "positives"]
    bins = bins.groupby(["model", "backbone", "method", "low"], sort=False, dropna=False)[sums].sum().reset_index()
    linear = bins[bins["model"] == LINEAR_BASELINE]
    bins = bins[bins["model"] != LINEAR_BASELINE]
    grid, palette = theme.facets(bins, 3.45, col="backbone"), theme.of_methods(frames)
    for backbone, axes in grid.axes_dict.items():
        axes.plot([LOWEST, 1], [LOWEST, 1], color=theme.GREY, linewidth=0.8, linestyle=":", label="perfect calibration")
        if not linear.empty:
            _curve(axes, linear, theme.GREY, "D", "linear baseline")
        for method, one in bins[bins.backbone == backbone].groupby("method", sort=False):
            _curve(axes, one, palette[method], theme.MARKERS[backbone], method)
        axes.set(xscale="log", yscale="log", xlim=(LOWEST, 1), ylim=(LOWEST, 1), xlabel="mean score")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.set_box_aspect(1)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), fontsize=7, handlelength=1.4)
    theme.label_rows(grid, ["share of positives"])
    return grid.figure


def _curve(axes: Axes, bins: pd.DataFrame, colour: str, marker: str, name: str) -> None:
    """A line through the bins that hold enough; the expected calibration error is that of all bins."""
    error = (bins.scores - bins.positives).abs().sum() / bins["count"].sum()
    drawn = bins[(bins["count"] >= FEWEST) & (bins.positives > 0)]
    places = {"x": drawn.scores / drawn["count"], "y": drawn.positives / drawn["count"], "errorbar": None}
    look = {"color": colour, "linewidth": 1.0, "marker": marker, "markersize": 3, "markeredgewidth": 0}
    sns.lineplot(**places, **look, label=f"{name}, error {100 * error:.1f} %", ax=axes)
