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


def accuracy_and_cost(frames: Frames) -> Figure:
    """Reproduced above, published below; a column a cost. An arrow leads from each baseline to what replaces it."""
    palette = theme.of_methods(frames)
    grid = theme.facets(_points(frames), 5.6, row="origin", col="cost", sharex=False, sharey="row")
    grid.map_dataframe(_draw, palette=palette)
    lines = {"linear baseline": (frames.maps_of(LINEAR_BASELINE).mean(), "--"), "chance": (frames.chance, ":")}
    for name, (height, style) in lines.items():
        for axes in grid.axes[0] if pd.notna(height) else ():
            axes.axhline(height, color=theme.GREY, linewidth=1.2, linestyle=style, label=name)
    for place, axes in grid.axes_dict.items():
        axes.set(title="", xlabel=LABELS[place])
        axes.margins(0.12)
    grid.axes[0, 0].set_ylim(bottom=0)
    which = "" if frames.full_size else ",\nreduced models"
    labels = {"reproduced": f"reproduced test mAP{which} (%)", "published": "published AudioSet mAP (%)"}
    theme.label_rows(grid, [labels[name] for name in grid.row_names])
    theme.shared_legend(grid.figure, "lower center", order=(*palette, *theme.MARKERS))
    return grid.figure


def _points(frames: Frames) -> pd.DataFrame:
    """A row a point: x with the ends of its interval, mAP in percent with its standard deviation (0 of one seed)."""
    found = []
    for model in frames.models:
        run, maps = frames.runs[frames.runs.model == model].iloc[0], frames.maps_of(model)
        here = (maps.mean(), maps.std() if len(maps) > 1 else 0.0)
        costs = [("reproduced", "parameters", *[run.trained_parameters / 1e6] * 3, *here)]
        for timed in frames.shown_timings[frames.shown_timings.model == model].itertuples():
            speeds = (timed.throughput, timed.throughput_low, timed.throughput_high)
            costs.insert(0, ("reproduced", "throughput", *speeds, *here))
        for paper in frames.published[frames.published.model == model].itertuples():
            costs.append(("published", "throughput", *[paper.throughput] * 3, paper.mAP, paper.sd))
            costs.append(("published", "parameters", *[paper.params_millions] * 3, paper.mAP, paper.sd))
        found += [(run.backbone, run.method, model, frames.baseline(model) or "", *one) for one in costs]
    columns = ["backbone", "method", "model", "baseline", "origin", "cost", "x", "low", "high", "mAP", "sd"]
    return pd.DataFrame(found, columns=columns)


def _draw(data: pd.DataFrame, palette: dict[str, str], **_: object) -> None:
    """The points of a panel with their bars, the arrows, and what the legend says of both."""
    axes = plt.gca()
    for backbone, pair in data.groupby("backbone", sort=False):
        places = pair.set_index("model")
        for end in pair[pair.baseline.isin(pair.model)].itertuples():
            start = places.loc[end.baseline]
            arrow = {"arrowstyle": "->", "color": theme.GREY, "linewidth": 0.9, "shrinkA": 4, "shrinkB": 5}
            axes.annotate("", xy=(end.x, end.mAP), xytext=(start.x, start.mAP), arrowprops=arrow)
        for one in pair.itertuples():
            look: Any = {"color": palette[one.method], "marker": theme.MARKERS[str(backbone)], "ms": 5}
            arms = [[one.x - one.low], [one.high - one.x]]
            axes.errorbar(one.x, one.mAP, one.sd, arms, elinewidth=0.9, capsize=2, zorder=3, **look)
            axes.plot([], [], color=look["color"], linewidth=4, label=one.method)
        axes.plot([], [], color=theme.GREY, marker=theme.MARKERS[str(backbone)], ls="", ms=5, label=str(backbone))
