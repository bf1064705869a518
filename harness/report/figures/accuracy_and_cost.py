"""mAP against throughput and against parameters, reproduced and published."""

from __future__ import annotations

import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from harness.config.systems import LINEAR_BASELINE
from harness.report.figures import theme
from harness.report.frames import Frames

LABELS = {  # of the x axis of each panel
    ("reproduced", "throughput"): "throughput of the full-size models (clips/s)",
    ("reproduced", "parameters"): "trained parameters (millions)",
    ("published", "throughput"): "throughput (clips/s)",
    ("published", "parameters"): "parameters, 1000 classes (millions)",
}
LINES = {"linear baseline": "--", "chance": ":"}


def accuracy_and_cost(frames: Frames) -> Figure:
    """Reproduced above, published below; a column a cost. An arrow leads from each baseline to its DCLS model."""
    points = pd.concat([_reproduced(frames), _published(frames)], ignore_index=True)
    grid = theme.facets(points, 5.6, row="source", col="cost", sharex=False, sharey="row")
    grid.map_dataframe(_points)
    handles = theme.legend_of(points)
    maps = {"linear baseline": frames.maps_of(LINEAR_BASELINE).mean(), "chance": frames.chance}
    for name, style in LINES.items():
        if pd.notna(maps[name]):
            drawn = [axes.axhline(maps[name], color=theme.GREY, lw=1.2, ls=style, label=name) for axes in grid.axes[0]]
            handles.append(drawn[0])
    for place, axes in grid.axes_dict.items():
        axes.set(title="", xlabel=LABELS[place])
        axes.margins(0.12)
    grid.axes[0, 0].set_ylim(bottom=0)
    reduced = "" if frames.full_size else " of the reduced models"
    theme.label_rows(grid, (f"reproduced test mAP\n{reduced} (%)", "published AudioSet mAP (%)"))
    grid.figure.legend(handles=handles, loc="outside lower center", ncols=4)
    return grid.figure


def _points(data: pd.DataFrame, **_: object) -> None:
    """A point a model with its bars, and the arrows."""
    axes = plt.gca()
    for _, pair in data.groupby("backbone", sort=False):
        if len(pair) == 2:
            start, end = (pair[pair.method == one].iloc[0] for one in theme.COLOURS)
            look = {"arrowstyle": "->", "color": theme.GREY, "linewidth": 0.9, "shrinkA": 4, "shrinkB": 5}
            axes.annotate("", xy=(end.x, end.mAP), xytext=(start.x, start.mAP), arrowprops=look)
    for one in data.itertuples():
        arms = [[one.x - one.low], [one.high - one.x]]
        look = {"color": theme.COLOURS[one.method], "marker": theme.MARKERS[one.backbone]}
        axes.errorbar(one.x, one.mAP, xerr=arms, yerr=one.sd, ms=5, elinewidth=0.9, capsize=2, zorder=3, **look)
