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
    """A column a backbone, a row a mode: clips/s of baseline and DCLS by batch, with 95% intervals.

    The condition is that of the table but for mode and batch; a cross marks a batch that did not fit into memory.
    """
    timings = of_the_paper(frames, frames.sweep)
    if timings.empty:
        return None
    modes = [mode for mode in MODES if mode in set(timings["mode"])]
    layout = {"row": "mode", "row_order": modes, "col": "backbone", "hue": "method", "sharey": False}
    grid = theme.facets(timings, 0.7 + 2.5 * len(modes), **layout)
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


def of_the_paper(frames: Frames, rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the paper's systems, each called baseline or DCLS, whatever its label."""
    found = rows[rows.model.isin(frames.of_the_paper)]
    return found.assign(method=["DCLS" if frames.is_dcls(model) else "baseline" for model in found.model])


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
    """A panel a mode, a pair of bars a backbone, in milliseconds; None where no step was profiled on this device."""
    key = ["model", "mode", "part"]
    parts = of_the_paper(frames, frames.breakdown).sort_values("date", kind="stable").drop_duplicates(key, keep="last")
    if parts.empty:
        return None
    modes = [mode for mode in MODES if mode in set(parts["mode"])]
    grid = theme.facets(parts, 4.4, col="mode", col_order=modes, sharey=False)
    grid.map_dataframe(_bars)
    theme.label_rows(grid, ["milliseconds a step"])
    order = [*(f"depthwise, {method}" for method in theme.COLOURS), *GREYS]
    theme.shared_legend(grid.figure, "lower center", columns=6, order=order)
    return grid.figure


def _bars(data: pd.DataFrame, **_: object) -> None:
    """Parts of a step, stacked; above each bar the share of the depthwise convolutions."""
    axes, backbones = plt.gca(), list(theme.MARKERS)
    for (backbone, method), step in data.groupby(["backbone", "method"]):
        parts = step.set_index("part").milliseconds.reindex(PARTS, fill_value=0.0)
        place = backbones.index(backbone) + (0.2 if method == "DCLS" else -0.2)
        look: Any = {"color": [theme.COLOURS[method], *GREYS.values()], "edgecolor": "white", "linewidth": 0.5}
        labels = [f"depthwise, {method}", *GREYS]
        axes.bar([place] * len(parts), parts, 0.36, parts.cumsum() - parts, label=labels, **look)
        share = f"{100 * parts.depthwise / parts.sum():.0f}%"
        axes.annotate(share, (place, parts.sum()), ha="center", va="bottom", fontsize=9, color=theme.GREY)
    axes.set_xticks(range(len(backbones)), backbones)
    axes.grid(False, axis="x")
