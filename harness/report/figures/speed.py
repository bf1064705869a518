"""Throughput of the full-size models against the batch size, and where a step's time goes."""

from __future__ import annotations

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

from harness.report.figures import theme
from harness.report.frames import Frames
from harness.throughput.condition import MODES

# the depthwise part, which is what differs, has the method's own colour; the others are greys
GREYS = {"stem": "#4D4D4D", "pointwise": "#8C8C8C", "attention": "#B8B8B8", "rest": "#E0E0E0"}
PARTS = ("depthwise", *GREYS)  # from below


def throughput_by_batch(frames: Frames) -> Figure:
    """A column a backbone, a row a mode: clips/s of baseline and DCLS by batch, with 95% intervals.

    The condition is that of the table but for mode and batch; a cross marks a batch that did not fit into memory.
    """
    timings = frames.sweep
    modes = [mode for mode in MODES if mode in set(timings["mode"])]
    grid = theme.facets(
        timings, 0.7 + 2.5 * len(modes), row="mode", row_order=modes, col="backbone", hue="method", sharey=False
    )
    grid.map_dataframe(_speeds)
    for axes in grid.axes.flat:
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_locator(FixedLocator(sorted(timings.batch.unique())))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:.0f}"))
        axes.margins(x=0.15)
        axes.set_ylim(bottom=0)
    grid.set_axis_labels("batch (clips)", "")
    theme.label_rows(grid, (f"{mode} (clips/s)" for mode in modes))
    handles = [Line2D([], [], color=theme.COLOURS[one], marker="o", label=one) for one in grid.hue_names]
    if timings.throughput.isna().any():
        handles.append(Line2D([], [], color=theme.GREY, marker="x", linestyle="", label="out of memory"))
    grid.figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return grid.figure


def _speeds(data: pd.DataFrame, color: object, **_: object) -> None:
    axes, timed = plt.gca(), data.dropna(subset="throughput").sort_values("batch")
    arms = [timed.throughput - timed.throughput_low, timed.throughput_high - timed.throughput]
    axes.errorbar(timed.batch, timed.throughput, yerr=arms, color=color, marker="o", ms=5, capsize=3, elinewidth=1.2)
    lost = data[data.throughput.isna()]
    if not lost.empty:  # an empty line that is not clipped has no extent, on which the layout fails
        axes.plot(lost.batch, [0] * len(lost), color=color, marker="x", linestyle="", clip_on=False)


def step_time(frames: Frames) -> Figure | None:
    """A panel a mode, a pair of bars a backbone, in milliseconds; None where no step was profiled on this device."""
    key = ["model", "mode", "part"]
    parts = frames.breakdown.sort_values("date", kind="stable").drop_duplicates(key, keep="last")
    if parts.empty:
        return None
    modes = [mode for mode in MODES if mode in set(parts["mode"])]
    grid = theme.facets(parts, 4.4, col="mode", col_order=modes, sharey=False)
    grid.map_dataframe(_bars)
    theme.label_rows(grid, ["milliseconds a step"])
    depthwise = [Patch(color=colour, label=f"depthwise, {method}") for method, colour in theme.COLOURS.items()]
    others = [Patch(color=colour, label=part) for part, colour in GREYS.items()]
    grid.figure.legend(handles=[*depthwise, *others], loc="outside lower center", ncols=6, handlelength=1.2)
    return grid.figure


def _bars(data: pd.DataFrame, **_: object) -> None:
    """Parts of a step, stacked; above each bar the share of the depthwise convolutions."""
    axes, backbones = plt.gca(), list(theme.MARKERS)
    for (backbone, method), step in data.groupby(["backbone", "method"]):
        parts = step.set_index("part").milliseconds.reindex(PARTS, fill_value=0.0)
        place = backbones.index(backbone) + (0.2 if method == "DCLS" else -0.2)
        colours = [theme.COLOURS[method], *GREYS.values()]
        bottoms = parts.cumsum() - parts
        axes.bar([place] * len(parts), parts, 0.36, bottoms, color=colours, edgecolor="white", linewidth=0.5)
        share = f"{100 * parts.depthwise / parts.sum():.0f}%"
        axes.annotate(share, (place, parts.sum()), ha="center", va="bottom", fontsize=9, color=theme.GREY)
    axes.set_xticks(range(len(backbones)), backbones)
    axes.grid(False, axis="x")
