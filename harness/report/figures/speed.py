"""Throughput of the full-size models against the batch size, and where a step's time goes."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from harness.report.figures import theme
from harness.report.frames import Frames
from harness.throughput.condition import MODES

# the depthwise part, which is what differs, has the method's own colour; the others are greys
GREYS = {"stem": "#4D4D4D", "pointwise": "#8C8C8C", "attention": "#B8B8B8", "rest": "#E0E0E0"}
PARTS = ("depthwise", *GREYS)  # from below


def throughput_by_batch(frames: Frames) -> Figure | None:
    """A column a backbone, a row a mode: clips/s by convolution and batch, with 95% intervals.

    The condition is that of the table but for mode and batch; a cross marks a batch that did not fit into memory.
    None where none of the models was timed.
    """
    timings = frames.sweep
    if timings.empty:
        return None
    modes = [mode for mode in MODES if mode in set(timings["mode"])]
    layout = {"row": "mode", "row_order": modes, "col": "backbone", "hue": "convolution", "sharey": False}
    grid = theme.facets(timings, 0.7 + 2.5 * len(modes), palette=theme.of_convolutions(frames), **layout)
    grid.map_dataframe(_speeds)
    for axes in grid.axes.flat:
        axes.set_xscale("log", base=2)
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticks(sorted(timings.batch.unique()), [f"{one:.0f}" for one in sorted(timings.batch.unique())])
        axes.margins(x=0.15)
        axes.set_ylim(bottom=0)
    grid.set_axis_labels("batch (clips)", "")
    theme.label_rows(grid, (f"{mode} (clips/s)" for mode in modes))
    theme.shared_legend(grid.figure, "lower center")
    return grid.figure


def _speeds(data: pd.DataFrame, color: object, label: str) -> None:
    axes, timed = plt.gca(), data.dropna(subset="throughput").sort_values("batch")
    arms = [timed.throughput - timed.throughput_low, timed.throughput_high - timed.throughput]
    look: Any = {"color": color, "marker": "o", "ms": 5, "capsize": 3, "elinewidth": 1.2}
    axes.errorbar(timed.batch, timed.throughput, yerr=arms, label=label, **look)
    lost = data[data.throughput.isna()]
    if not lost.empty:  # an empty line that is not clipped has no extent, on which the layout fails
        name = f"{label}: out of memory"
        axes.plot(lost.batch, [0] * len(lost), color=color, marker="x", linestyle="", clip_on=False, label=name)


def step_time(frames: Frames) -> Figure | None:
    """A panel a mode, a bar a backbone and convolution, in milliseconds; None where nothing was profiled here."""
    key, palette = ["backbone", "convolution", "mode", "part"], theme.of_convolutions(frames)
    parts = frames.breakdown.sort_values("date", kind="stable").drop_duplicates(key, keep="last")
    if parts.empty:
        return None
    modes = [mode for mode in MODES if mode in set(parts["mode"])]
    grid = theme.facets(parts, 4.4, col="mode", col_order=modes, sharey=False)
    grid.map_dataframe(_bars, palette=palette)
    theme.label_rows(grid, ["milliseconds a step"])
    order = [*(f"depthwise, {one}" for one in palette), *GREYS]
    theme.shared_legend(grid.figure, "lower center", columns=3, order=order)
    return grid.figure


def _bars(data: pd.DataFrame, palette: dict[str, str], **_: object) -> None:
    """Parts of a step, stacked; above each bar the share of the depthwise convolutions."""
    axes, backbones, shown = plt.gca(), list(dict.fromkeys(data.backbone)), list(palette)
    for (backbone, convolution), step in data.groupby(["backbone", "convolution"]):
        parts = step.set_index("part").milliseconds.reindex(PARTS, fill_value=0.0)
        place = backbones.index(backbone) + 0.8 * ((shown.index(convolution) + 0.5) / len(shown) - 0.5)
        look: Any = {"color": [palette[convolution], *GREYS.values()], "edgecolor": "white", "linewidth": 0.5}
        labels = [f"depthwise, {convolution}", *GREYS]
        axes.bar([place] * len(parts), parts, 0.72 / len(shown), parts.cumsum() - parts, label=labels, **look)
        share = f"{100 * parts.depthwise / parts.sum():.0f}%"
        axes.annotate(share, (place, parts.sum()), ha="center", va="bottom", fontsize=9, color=theme.GREY)
    axes.set_xticks(range(len(backbones)), backbones)
    axes.grid(False, axis="x")
