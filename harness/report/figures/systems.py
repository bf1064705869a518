"""The answer as a picture: mAP by system, and beside it the paired differences, a row a backbone."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from harness.config.systems import LINEAR_BASELINE
from harness.report.decisions import SUPPORTED, outcome, seed_interval
from harness.report.figures import theme
from harness.report.frames import Frames

LINE = 0.27  # inches that a system or a difference takes


def systems(frames: Frames) -> Figure:
    """Left a line a system: its seeds, their mean and its 95% interval over seeds; right a line a comparison: the
    differences by seed, their mean, its 95% interval over seeds and clips, and what it says."""
    backbones = list(dict.fromkeys(map(frames.backbone, frames.models)))
    models = [[name for name in frames.models if frames.backbone(name) == one] for one in backbones]
    pairs = [list(frames.comparisons[frames.comparisons.backbone == one].itertuples()) for one in backbones]
    lines = [max(2, len(some), len(others)) for some, others in zip(models, pairs, strict=True)]
    size = (theme.TWO_COLUMNS, 0.9 + sum(LINE * (1.2 + count) for count in lines))
    figure = Figure(figsize=size, layout="constrained")
    ratios: dict[str, Any] = {"height_ratios": [1.2 + count for count in lines], "width_ratios": [1, 1]}
    panels = figure.subplots(len(backbones), 2, squeeze=False, sharex="col", **ratios)
    palette = theme.of_methods(frames)
    for (left, right), backbone, some, others in zip(panels, backbones, models, pairs, strict=True):
        left.set_title(backbone, loc="left")
        _categories(left, [frames.systems[name].method for name in some])
        for place, name in enumerate(some):
            maps = frames.maps_of(name)
            interval = seed_interval(maps.mean(), maps.std(), len(maps))
            _line(left, place, maps, maps.mean(), interval, palette[frames.systems[name].method])
        for value, style in ((frames.maps_of(LINEAR_BASELINE).mean(), "--"), (frames.chance, ":")):
            if pd.notna(value):
                left.axvline(value, color=theme.GREY, linewidth=0.9, linestyle=style, zorder=0.5)
        _categories(right, [_name(frames, pair) for pair in others])
        for place, pair in enumerate(others):
            _difference(right, place, pair, frames, palette[pair.method])
        right.axvline(0, color=theme.GREY, linewidth=0.9, zorder=0.5)
        right.set_visible(bool(others))
    panels[-1, 0].set_xlabel("test mAP (%)")
    panels[-1, 1].set_xlabel("difference in mAP (percentage points)")
    look: dict[str, Any] = {"color": theme.GREY, "linewidth": 1.2}
    marks = [Line2D([], [], marker="o", ms=5, label=f"mean and 95% interval, {frames.repeats}", **look)]
    marks.append(Line2D([], [], marker="|", ls="", color=theme.GREY, label=f"one of the {frames.repeats}"))
    marks.append(Line2D([], [], ls="--", label="logistic regression", color=theme.GREY, linewidth=0.9))
    marks.append(Line2D([], [], ls=":", label="chance", color=theme.GREY, linewidth=0.9))
    figure.legend(handles=marks, loc="outside lower center", ncols=4, fontsize=7)
    return figure


def _name(frames: Frames, pair: Any) -> str:
    return f"{pair.method}\n\N{MINUS SIGN} {frames.systems[pair.baseline].method}"


def _difference(axes: Axes, place: int, pair: Any, frames: Frames, colour: str) -> None:
    said: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "va": "center", "fontsize": 7}
    if pair.unfair:
        axes.text(0.5, place, f"{pair.verdict}:\n{pair.unfair}", ha="center", color=theme.GREY, **said)
        return
    by_seed = frames.maps_of(pair.model) - frames.maps_of(pair.baseline)
    _line(axes, place, by_seed, 100 * pair.mean, (100 * pair.low, 100 * pair.high), colour)
    weight = "bold" if outcome(pair) == SUPPORTED else "normal"
    axes.text(1.02, place, outcome(pair), ha="left", weight=weight, **said)


def _line(axes: Axes, place: int, seeds: pd.Series, mean: float, interval: tuple[float, float], colour: str) -> None:
    axes.plot(seeds, [place] * len(seeds), marker="|", ls="", color=colour, ms=7, markeredgewidth=0.9, alpha=0.75)
    if pd.notna(interval[0]):
        axes.plot(interval, [place, place], color=colour, linewidth=1.4)
    axes.plot(mean, place, marker="o", color=colour, ms=5)


def _categories(axes: Axes, names: list[str]) -> None:
    """From the top."""
    axes.set_yticks(range(len(names)), names, fontsize=7, linespacing=0.95)
    axes.set_ylim(max(2, len(names)) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
