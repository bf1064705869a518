"""What systems score: the answer as a picture, and mAP against throughput and parameters."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from harness.report.decisions import SUPPORTED, outcome, seed_interval
from harness.report.figures import theme
from harness.report.frames import Frames

LINE = 0.27  # inches that a system or a difference takes
POINT = ["backbone", "method", "model", "baseline", "origin", "cost", "x", "low", "high", "mAP", "sd"]


def systems(frames: Frames) -> Figure:
    """Left a line a system: its seeds, their mean and its 95% interval over seeds; right a line a comparison: the
    differences by seed, their mean, its 95% interval over seeds and clips, and what it says."""
    pairs = {name: list(frames.points[frames.points.backbone == name].itertuples()) for name in frames.by_backbone}
    heights = [1.2 + max(2, len(some), len(pairs[name])) for name, some in frames.by_backbone.items()]
    size = (theme.TWO_COLUMNS, 0.9 + sum(LINE * height for height in heights))
    figure, palette = Figure(figsize=size, layout="constrained"), theme.of_methods(frames)
    panels = figure.subplots(len(heights), 2, squeeze=False, sharex="col", height_ratios=heights)
    for (left, right), (backbone, models) in zip(panels, frames.by_backbone.items(), strict=True):
        left.set_title(backbone, loc="left")
        _from_the_top(left, [frames.method(name) for name in models])
        for place, name in enumerate(models):
            maps = frames.maps_of(name)
            _line(left, place, maps, maps.mean(), seed_interval(maps), palette[frames.method(name)])
        for _, maps, style in theme.held_against(frames):
            left.axvline(maps.mean(), color=theme.GREY, linewidth=0.9, linestyle=style, zorder=0.5)
        _from_the_top(right, [theme.minus(pair) for pair in pairs[backbone]])
        for place, pair in enumerate(pairs[backbone]):
            _difference(right, place, pair, frames, palette[pair.method])
        right.axvline(0, color=theme.GREY, linewidth=0.9, zorder=0.5)
        right.set_visible(bool(pairs[backbone]))
    panels[-1, 0].set_xlabel("test mAP (%)")
    panels[-1, 1].set_xlabel("difference in mAP (percentage points)")
    marks = [
        Line2D([], [], marker="o", ms=5, linewidth=1.2, label=f"mean and 95% interval, {frames.repeats}"),
        Line2D([], [], marker="|", ls="", label=f"one of the {frames.repeats}"),
        Line2D([], [], ls="--", label="logistic regression", linewidth=0.9),
        Line2D([], [], ls=":", label="chance", linewidth=0.9),
    ]
    plt.setp(marks, color=theme.GREY)
    figure.legend(handles=marks, loc="outside lower center", ncols=4, fontsize=7)
    return figure


def _difference(axes: Axes, place: int, pair: Any, frames: Frames, colour: str) -> None:
    said: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "va": "center", "fontsize": 7}
    if pair.unfair:
        axes.text(0.5, place, f"{pair.verdict}:\n{pair.unfair}", ha="center", color=theme.GREY, **said)
        return
    by_seed = frames.maps_of(pair.model) - frames.maps_of(pair.baseline)
    _line(axes, place, by_seed, pair.mean, (pair.low, pair.high), colour)
    weight = "bold" if outcome(pair) == SUPPORTED else "normal"
    axes.text(1.02, place, outcome(pair), ha="left", weight=weight, **said)


def _line(axes: Axes, place: int, seeds: pd.Series, mean: float, interval: tuple[float, float], colour: str) -> None:
    axes.plot(seeds, [place] * len(seeds), marker="|", ls="", color=colour, ms=7, markeredgewidth=0.9, alpha=0.75)
    if pd.notna(interval[0]):
        axes.plot(interval, [place, place], color=colour, linewidth=1.4)
    axes.plot(mean, place, marker="o", color=colour, ms=5)


def _from_the_top(axes: Axes, names: list[str]) -> None:
    theme.categories(axes, names, fontsize=7, linespacing=0.95)
    axes.set_ylim(max(2, len(names)) - 0.5, -0.5)


def accuracy_and_cost(frames: Frames) -> Figure:
    """A panel an origin and cost, the reproduced ones first. An arrow leads from each baseline to what replaces it.

    The cost is that of the very same models: of reduced ones there is no throughput, as full-size ones are timed.
    """
    palette, points = theme.of_methods(frames), _costs(frames)
    # origins above each other, where both have both costs
    layout = {"row": "origin", "col": "cost"} if frames.full_size else {"col": "panel"}
    grid = theme.facets(points, 5.6 if frames.full_size else 2.9, sharex=False, sharey=False, **layout)
    grid.map_dataframe(_draw_costs, palette=palette)
    which = "" if frames.full_size else ",\nreduced models"
    for place, axes in grid.axes_dict.items():
        origin, cost = place if isinstance(place, tuple) else place.split(", ")
        here = origin == "reproduced"  # the published speed and parameters are those of full-size models
        parameters = f"{'trained ' if here else ''}parameters (millions)"
        axes.set(title="", xlabel="throughput (clips/s)" if cost == "throughput" else parameters)
        axes.margins(0.12)
        axes.set_ylabel(f"test mAP{which} (%)" if here else "published mAP,\nAudioSet (%)")
        for name, maps, style in theme.held_against(frames) if here else ():
            axes.axhline(maps.mean(), color=theme.GREY, linewidth=1.2, linestyle=style, label=name)
        if here:
            axes.set_ylim(bottom=0)
    theme.shared_legend(grid.figure, "lower center", order=(*palette, *theme.MARKERS))
    return grid.figure


def _costs(frames: Frames) -> pd.DataFrame:
    """A row a point: x with the ends of its interval, mAP in percent with its standard deviation (0 of one seed)."""
    found = []
    for model in frames.models:
        run, maps = frames.first_runs.loc[model], frames.maps_of(model)
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
    points = pd.DataFrame(found, columns=POINT)
    return points.assign(panel=points.origin + ", " + points.cost)


def _draw_costs(data: pd.DataFrame, palette: dict[str, str], **_: object) -> None:
    """The points of a panel with their bars, the arrows, and what the legend says of both."""
    axes = plt.gca()
    for backbone, pair in data.groupby("backbone", sort=False):
        places, marker = pair.set_index("model"), theme.MARKERS[str(backbone)]
        for end in pair[pair.baseline.isin(pair.model)].itertuples():
            start = places.loc[end.baseline]
            arrow = {"arrowstyle": "->", "color": theme.GREY, "linewidth": 0.9, "shrinkA": 4, "shrinkB": 5}
            axes.annotate("", xy=(end.x, end.mAP), xytext=(start.x, start.mAP), arrowprops=arrow)
        for one in pair.itertuples():
            look: Any = {"color": palette[one.method], "marker": marker, "ms": 5}
            arms = [[one.x - one.low], [one.high - one.x]]
            axes.errorbar(one.x, one.mAP, one.sd, arms, elinewidth=0.9, capsize=2, zorder=3, **look)
            axes.plot([], [], color=palette[one.method], linewidth=4, label=one.method)
        axes.plot([], [], color=theme.GREY, marker=marker, ls="", ms=5, label=str(backbone))
