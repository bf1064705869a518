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
    """Reproduced above, published below; a column a cost. An arrow leads from each baseline to its DCLS model."""
    points = _points(frames)
    grid = theme.facets(points, 5.6, row="origin", col="cost", sharex=False, sharey="row")
    grid.map_dataframe(_draw)
    handles = theme.legend_of(points)
    lines = {"linear baseline": (frames.maps_of(LINEAR_BASELINE).mean(), "--"), "chance": (frames.chance, ":")}
    for name, (height, style) in lines.items():
        if pd.notna(height):
            for axes in grid.axes[0]:
                line = axes.axhline(height, color=theme.GREY, linewidth=1.2, linestyle=style, label=name)
            handles.append(line)
    for place, axes in grid.axes_dict.items():
        axes.set(title="", xlabel=LABELS[place])
        axes.margins(0.12)
    grid.axes[0, 0].set_ylim(bottom=0)
    which = "" if frames.full_size else ",\nreduced models"
    theme.label_rows(grid, (f"reproduced test mAP{which} (%)", "published AudioSet mAP (%)"))
    grid.figure.legend(handles=handles, loc="outside lower center", ncols=4)
    return grid.figure


def _points(frames: Frames) -> pd.DataFrame:
    """A row a point: x with the ends of its interval, mAP in percent with its standard deviation (0 of one seed)."""
    found: list[dict[str, Any]] = []
    for model in frames.models:
        paper = frames.published[frames.published.model == model].iloc[0]
        timed = frames.shown_timings[frames.shown_timings.model == model].iloc[0]
        maps = frames.maps_of(model)
        trained = frames.runs[frames.runs.model == model].trained_parameters.iloc[0] / 1e6
        reproduced = {"mAP": maps.mean(), "sd": maps.std() if len(maps) > 1 else 0.0}
        published = {"mAP": paper.mAP, "sd": paper.sd}
        speeds = (timed.throughput, timed.throughput_low, timed.throughput_high)
        for origin, cost, ends, height in (
            ("reproduced", "throughput", speeds, reproduced),
            ("reproduced", "parameters", [trained] * 3, reproduced),
            ("published", "throughput", [paper.throughput] * 3, published),
            ("published", "parameters", [paper.params_millions] * 3, published),
        ):
            x = dict(zip(("x", "low", "high"), ends, strict=True))
            name = {"backbone": paper.backbone, "method": paper.method}
            found.append({**name, "origin": origin, "cost": cost, **x, **height})
    return pd.DataFrame(found)


def _draw(data: pd.DataFrame, **_: object) -> None:
    """The points of a panel with their bars, and the arrows."""
    axes = plt.gca()
    for _, pair in data.groupby("backbone", sort=False):
        if len(pair) == 2:
            start, end = (pair[pair["method"] == one].iloc[0] for one in theme.COLOURS)
            arrow = {"arrowstyle": "->", "color": theme.GREY, "linewidth": 0.9, "shrinkA": 4, "shrinkB": 5}
            axes.annotate("", xy=(end["x"], end["mAP"]), xytext=(start["x"], start["mAP"]), arrowprops=arrow)
    for one in data.itertuples():
        arms = [[one.x - one.low], [one.high - one.x]]
        look: dict[str, Any] = {"color": theme.COLOURS[one.method], "marker": theme.MARKERS[one.backbone]}
        axes.errorbar(one.x, one.mAP, xerr=arms, yerr=one.sd, ms=5, elinewidth=0.9, capsize=2, zorder=3, **look)
