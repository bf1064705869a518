"""Class by class: what the main DCLS models have more than their baselines; and how well scores are calibrated."""

from __future__ import annotations

import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from harness.config.systems import LINEAR_BASELINE
from harness.report.figures import theme
from harness.report.frames import Frames

MOST = 40  # classes shown in a panel; of more, the two ends
LONGEST = 22  # characters of a class name
ABOVE, BELOW, NEITHER = "interval above 0", "interval below 0", "interval includes 0, or no interval"
LOOKS = {  # marker, colour, face
    ABOVE: ("o", theme.DCLS, theme.DCLS),
    BELOW: ("s", theme.BASELINE, theme.BASELINE),
    NEITHER: ("o", theme.GREY, "white"),
}
FEWEST = 20  # pairs of clip and class in a bin of scores that is drawn
LOWEST = 0.005  # where the axes start; bins of lower scores are not drawn


def class_differences(frames: Frames) -> Figure | None:
    """A panel a backbone: differences of average precision with paired intervals, the class that gains most on top.

    None where no DCLS model has its baseline in a fair pair. Raises UserError where per_class_difference.csv is of
    other runs.
    """
    found = frames.differences_by_class(frames.headline_pairs).dropna(subset="difference")
    if found.empty:
        return None
    found = found.assign(outcome=NEITHER)
    found.loc[found.low > 0, "outcome"] = ABOVE
    found.loc[found.high < 0, "outcome"] = BELOW
    longest = min(found.groupby("model").size().max(), MOST + 1)
    grid = theme.facets(found, 1.1 + 0.14 * max(longest, 5), col="backbone", sharey=False)
    grid.map_dataframe(_draw_differences)
    for axes, (_, classes) in zip(grid.axes.flat, found.groupby("backbone", sort=False), strict=True):
        above, below = ((classes.outcome == outcome).sum() for outcome in (ABOVE, BELOW))
        axes.set_xlabel(f"{above} above 0, {below} below\nof {len(classes)} classes", fontsize=7)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=4 if grid.axes.size > 1 else 8))
    grid.figure.supxlabel("average precision, DCLS - baseline (percentage points)", fontsize=8)
    theme.shared_legend(grid.figure, order=LOOKS)
    return grid.figure


def _draw_differences(data: pd.DataFrame, **_: object) -> None:
    """A line a class from the top; where there are too many, the two ends, and between them how many are left out."""
    axes, half = plt.gca(), MOST // 2
    classes = data.sort_values("difference", ascending=False, kind="stable").reset_index(drop=True)
    names = [theme.shortened(one, LONGEST) for one in classes.label]
    if len(classes) > MOST:
        names = [*names[:half], f"... {len(classes) - 2 * half} between ...", *names[-half:]]
        classes.index = [*range(half), *[half] * (len(classes) - MOST), *range(half + 1, MOST + 1)]
        classes = classes.drop(index=half)
    for outcome, (marker, colour, face) in LOOKS.items():
        shown = classes[classes.outcome == outcome]
        look = {"marker": marker, "facecolor": face, "edgecolor": colour, "linewidth": 1.0, "s": 10, "zorder": 3}
        axes.hlines(shown.index, shown.low, shown.high, colors=colour, linewidth=1.1)
        sns.scatterplot(x=shown.difference, y=shown.index, label=outcome, legend=False, ax=axes, **look)
    axes.axvline(0, color=theme.GREY, linewidth=1.0, zorder=0.5)
    theme.categories(axes, names, fontsize=7)
    axes.set(ylim=(len(names) - 0.4, -0.6), ylabel="")


def calibration(frames: Frames) -> Figure | None:
    """How often classes are there among those that a model gives a score: a panel a backbone, both axes logarithmic,
    observed share over mean score, bin by bin, all seeds together.

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
