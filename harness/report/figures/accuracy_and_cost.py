"""mAP against throughput and against parameters, reproduced and published; the cost is that of the very same models."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from harness.config.systems import LINEAR_BASELINE
from harness.report.figures import theme
from harness.report.frames import Frames

LABELS = {  # of the x axis by panel; the published speed and parameters are those of full-size models
    ("reproduced", "throughput"): "throughput (clips/s)",
    ("reproduced", "parameters"): "trained parameters (millions)",
    ("published", "throughput"): "throughput (clips/s)",
    ("published", "parameters"): "parameters (millions)",
}


def accuracy_and_cost(frames: Frames) -> Figure:
    """A panel an origin and cost, the reproduced ones first. An arrow leads from each baseline to what replaces it.

    Of reduced models there is no throughput, as full-size ones are timed.
    """
    palette, points = theme.of_methods(frames), _points(frames)
    grid = theme.facets(points, 5.6 if frames.full_size else 2.9, sharex=False, sharey=False, **_layout(frames))
    grid.map_dataframe(_draw, palette=palette)
    lines = {"logistic regression": (frames.maps_of(LINEAR_BASELINE).mean(), "--"), "chance": (frames.chance, ":")}
    which = "" if frames.full_size else ",\nreduced models"
    for place, axes in grid.axes_dict.items():
        origin, cost = place if isinstance(place, tuple) else place.split(", ")
        axes.set(title="", xlabel=LABELS[origin, cost])
        axes.margins(0.12)
        axes.set_ylabel(f"test mAP{which} (%)" if origin == "reproduced" else "published mAP,\nAudioSet (%)")
        for name, (height, style) in lines.items():
            if origin == "reproduced" and pd.notna(height):
                axes.axhline(height, color=theme.GREY, linewidth=1.2, linestyle=style, label=name)
        if origin == "reproduced":
            axes.set_ylim(bottom=0)
    theme.shared_legend(grid.figure, "lower center", order=(*palette, *theme.MARKERS))
    return grid.figure


def _layout(frames: Frames) -> dict[str, str]:
    """Origins above each other, where both have both costs."""
    return {"row": "origin", "col": "cost"} if frames.full_size else {"col": "panel"}


def _points(frames: Frames) -> pd.DataFrame:
    """A row a point: x with the ends of its interval, mAP in percent with its standard deviation (0 of one seed)."""
    found = []
    for model in frames.models:
        run, maps = frames.runs[frames.runs.model == model].iloc[0], frames.maps_of(model)
        here = (maps.mean(), maps.std() if len(maps) > 1 else 0.0)
        costs = [("reproduced", "parameters", *[run.trained_parameters / 1e6] * 3, *here)]
        timings = frames.shown_timings[frames.shown_timings.model == model]
        for timed in timings.itertuples() if frames.full_size else ():
            speeds = (timed.throughput, timed.throughput_low, timed.throughput_high)
            costs.insert(0, ("reproduced", "throughput", *speeds, *here))
        for paper in frames.published[frames.published.model == model].itertuples():
            costs.append(("published", "throughput", *[paper.throughput] * 3, paper.mAP, paper.sd))
            costs.append(("published", "parameters", *[paper.params_millions] * 3, paper.mAP, paper.sd))
        found += [(run.backbone, run.method, model, frames.baseline(model) or "", *one) for one in costs]
    columns = ["backbone", "method", "model", "baseline", "origin", "cost", "x", "low", "high", "mAP", "sd"]
    points = pd.DataFrame(found, columns=columns)
    return points.assign(panel=points.origin + ", " + points.cost)


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
