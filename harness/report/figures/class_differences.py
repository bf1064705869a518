"""Average precision class by class: the main DCLS models minus their baselines, sorted, with paired intervals."""

from __future__ import annotations

import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from harness.base import paths
from harness.base.errors import UserError
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


def class_differences(frames: Frames) -> Figure | None:
    """A panel a backbone, the class that gains most on top. None where no DCLS model has its baseline in a fair pair.

    Raises UserError where per_class_difference.csv is of other runs.
    """
    found = frames.class_differences.dropna(subset="difference").set_index(["model", "baseline"], drop=False)
    for model, _ in (pair for pair in frames.headline_pairs if pair not in found.index):
        path = paths.results(frames.preset) / "per_class_difference.csv"
        raise UserError(f"{path}: no row of {model}; run `compare-models` again")
    if not frames.headline_pairs:
        return None
    found = found.loc[frames.headline_pairs].reset_index(drop=True)
    percent = {name: 100 * found[name] + 0.0 for name in ("difference", "low", "high")}
    found = found.assign(**percent, outcome=NEITHER)
    found.loc[found.low > 0, "outcome"] = ABOVE
    found.loc[found.high < 0, "outcome"] = BELOW
    longest = min(found.groupby("model").size().max(), MOST + 1)
    grid = theme.facets(found, 1.1 + 0.14 * max(longest, 5), col="backbone", sharey=False)
    grid.map_dataframe(_draw)
    for axes, (_, classes) in zip(grid.axes.flat, found.groupby("backbone", sort=False), strict=True):
        above, below = ((classes.outcome == outcome).sum() for outcome in (ABOVE, BELOW))
        axes.set_xlabel(f"{above} above 0, {below} below\nof {len(classes)} classes", fontsize=7)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=4 if grid.axes.size > 1 else 8))
    grid.figure.supxlabel("average precision, DCLS - baseline (percentage points)", fontsize=8)
    theme.shared_legend(grid.figure, order=LOOKS)
    return grid.figure


def _draw(data: pd.DataFrame, **_: object) -> None:
    """A line a class from the top; where there are too many, the two ends, and between them how many are left out."""
    axes, half = plt.gca(), MOST // 2
    classes = data.sort_values("difference", ascending=False, kind="stable").reset_index(drop=True)
    names = [one if len(one) <= LONGEST else f"{one[: LONGEST - 3].rstrip(' ,')}..." for one in classes.label]
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
    axes.set_yticks(range(len(names)), names, fontsize=7)
    axes.set(ylim=(len(names) - 0.4, -0.6), ylabel="")
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
