"""mAP against throughput and against parameters, reproduced and published."""

from __future__ import annotations

from typing import Any

import pandas as pd
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


def accuracy_and_cost(frames: Frames) -> Figure | None:
    """The paper's systems, reproduced above, published below; a column a cost.

    An arrow leads from each baseline to its DCLS model.
    """
    points = _points(frames)
    if points.empty:
        return None
    grid = theme.facets(points, 5.6, row="origin", col="cost", sharex=False, sharey="row")
    grid.map_dataframe(_draw)
    lines = {"linear baseline": (frames.maps_of(LINEAR_BASELINE).mean(), "--"), "chance": (frames.chance, ":")}
    for name, (height, style) in lines.items():
        for axes in grid.axes[0] if pd.notna(height) else ():
            axes.axhline(height, color=theme.GREY, linewidth=1.2, linestyle=style, label=name)
    for place, axes in grid.axes_dict.items():
        axes.set(title="", xlabel=LABELS[place])
        axes.margins(0.12)
    grid.axes[0, 0].set_ylim(bottom=0)
    which = "" if frames.full_size else ",\nreduced models"
    theme.label_rows(grid, (f"reproduced test mAP{which} (%)", "published AudioSet mAP (%)"))
    theme.shared_legend(grid.figure, "lower center", order=(*theme.COLOURS, *theme.MARKERS))
    return grid.figure


def _points(frames: Frames) -> pd.DataFrame:
    """A row a point: x with the ends of its interval, mAP in percent with its standard deviation (0 of one seed)."""
    found = []
    timings = frames.shown_timings.set_index("model")
    for model in (one for one in frames.of_the_paper if one in timings.index):
        paper, run = (one[one.model == model].iloc[0] for one in (frames.published, frames.runs))
        timed = timings.loc[model]
        maps = frames.maps_of(model)
        here = (maps.mean(), maps.std() if len(maps) > 1 else 0.0)
        costs = (
            ("reproduced", "throughput", timed.throughput, timed.throughput_low, timed.throughput_high, *here),
            ("reproduced", "parameters", *[run.trained_parameters / 1e6] * 3, *here),
            ("published", "throughput", *[paper.throughput] * 3, paper.mAP, paper.sd),
            ("published", "parameters", *[paper.params_millions] * 3, paper.mAP, paper.sd),
        )
        found += [(paper.backbone, paper.method, *one) for one in costs]
    return pd.DataFrame(found, columns=["backbone", "method", "origin", "cost", "x", "low", "high", "mAP", "sd"])


def _draw(data: pd.DataFrame, **_: object) -> None:
    """The points of a panel with their bars, the arrows, and what the legend says of both."""
    axes = plt.gca()
    for backbone, pair in data.groupby("backbone", sort=False):
        if len(pair) == 2:
            start, end = (pair[pair.method == one].iloc[0] for one in theme.COLOURS)
            arrow = {"arrowstyle": "->", "color": theme.GREY, "linewidth": 0.9, "shrinkA": 4, "shrinkB": 5}
            axes.annotate("", xy=(end.x, end.mAP), xytext=(start.x, start.mAP), arrowprops=arrow)
        for one in pair.itertuples():
            look: Any = {"color": theme.COLOURS[one.method], "marker": theme.MARKERS[str(backbone)], "ms": 5}
            arms = [[one.x - one.low], [one.high - one.x]]
            axes.errorbar(one.x, one.mAP, one.sd, arms, elinewidth=0.9, capsize=2, zorder=3, **look)
            axes.plot([], [], color=look["color"], linewidth=4, label=one.method)
        axes.plot([], [], color=theme.GREY, marker=theme.MARKERS[str(backbone)], ls="", ms=5, label=str(backbone))
