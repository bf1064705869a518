"""Average precision class by class: DCLS minus baseline, sorted, with paired intervals."""

from __future__ import annotations

import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from harness.base import paths
from harness.base.errors import UserError
from harness.report.figures import theme
from harness.report.frames import Frames

MOST = 40  # classes shown in a panel; of more, the two ends
LONGEST = 22  # characters of a class name
ABOVE, BELOW, NEITHER = "interval above 0", "interval below 0", "interval includes 0, or no interval"
COLOURS = {ABOVE: theme.DCLS, BELOW: theme.BASELINE, NEITHER: theme.GREY}
MARKERS = {ABOVE: "o", BELOW: "s", NEITHER: "o"}


def class_differences(frames: Frames) -> Figure | None:
    """A panel a backbone, the class that gains most on top. None where no DCLS model has its baseline.

    Raises UserError where per_class_difference.csv is of other runs.
    """
    if frames.comparisons.empty:
        return None
    found = frames.class_differences.dropna(subset="difference")
    for model in frames.comparisons.model:
        if model not in set(found.model):
            path = paths.results(frames.preset) / "per_class_difference.csv"
            raise UserError(f"{path}: no row of {model}; run `compare-models` again")
    found = found[found.model.isin(frames.comparisons.model)]
    found = found.assign(**{name: 100 * found[name] + 0.0 for name in ("difference", "low", "high")})
    found["outcome"] = NEITHER
    found.loc[found.low > 0, "outcome"] = ABOVE
    found.loc[found.high < 0, "outcome"] = BELOW
    longest = min(found.groupby("model").size().max(), MOST + 1)
    grid = theme.facets(found, 1.1 + 0.14 * max(longest, 5), col="backbone", sharey=False)
    grid.map_dataframe(_panel)
    grid.set_axis_labels("", "")
    for axes, (_, classes) in zip(grid.axes.flat, found.groupby("backbone", sort=False), strict=True):
        counts = classes.outcome.value_counts()
        text = f"{counts.get(ABOVE, 0)} above 0, {counts.get(BELOW, 0)} below\nof {len(classes)} classes"
        axes.set_xlabel(text, fontsize=7)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=4 if grid.axes.size > 1 else 8))
    grid.figure.supxlabel("average precision, DCLS - baseline (percentage points)", fontsize=8)
    grid.figure.legend(handles=[_handle(one) for one in COLOURS], loc="outside upper center", ncols=3)
    return grid.figure


def _panel(data: pd.DataFrame, **_: object) -> None:
    """A line a class from the top; where there are too many, the two ends, and between them how many are left out."""
    axes, half = plt.gca(), MOST // 2
    classes = data.sort_values("difference", ascending=False, kind="stable").reset_index(drop=True)
    names = [one if len(one) <= LONGEST else f"{one[: LONGEST - 3].rstrip(' ,')}..." for one in classes.label]
    places = pd.Series(range(len(classes)))
    if len(classes) > MOST:
        names = [*names[:half], f"... {len(classes) - 2 * half} between ...", *names[-half:]]
        classes = pd.concat([classes[:half], classes[-half:]], ignore_index=True)
        places = pd.Series([*range(half), *range(half + 1, MOST + 1)])
    known = classes.low.notna() & classes.high.notna()
    colours = classes.outcome[known].map(COLOURS)
    axes.hlines(places[known], classes.low[known], classes.high[known], colors=colours, linewidth=1.1)
    axes.axvline(0, color=theme.GREY, linewidth=1.0, zorder=0.5)
    for outcome, shown in classes.groupby("outcome"):
        look = _look(str(outcome))
        sns.scatterplot(x=shown.difference, y=places[shown.index], ax=axes, s=10, zorder=3, **look)
    axes.set_yticks(range(len(names)), names, fontsize=7)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)


def _look(outcome: str) -> dict[str, object]:
    colour = COLOURS[outcome]
    face = "white" if outcome == NEITHER else colour
    return {"marker": MARKERS[outcome], "facecolor": face, "edgecolor": colour, "linewidth": 1.0}


def _handle(outcome: str) -> Line2D:
    colour = COLOURS[outcome]
    face = "white" if outcome == NEITHER else colour
    return Line2D([], [], color=colour, marker=MARKERS[outcome], mfc=face, ms=3.5, lw=1.1, label=outcome)
