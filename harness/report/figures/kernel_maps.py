"""Heat maps of a kernel's cells, frequency upwards in mel bands, time to the right in ms; and of dense kernels."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from harness.report.figures import theme
from harness.report.frames import Frames
from harness.report.geometry import Map, outside

COLOUR_MAP = "PuOr"  # of dense kernels: diverging, told apart by the colour-blind; white is 0
VISIBLE = 0.01  # of a dense kernel's largest cell: those that the picture is cut to
FEWEST_CELLS = 3  # shown on each side of the centre

Cell = tuple[int, float]  # mel bands and milliseconds that a cell stands for


def dense_kernels(frames: Frames, model: str) -> Figure | None:
    """A row a stage, a pair of columns a channel: the kernel at the first and at the last recorded epoch.

    Each kernel has its own colour scale, symmetrical about 0, whose end is written into it. None where none was
    recorded.
    """
    kernels = frames.kernels[(frames.kernels.model == model) & (frames.kernels.seed == frames.seeds[0])]
    if kernels.empty:
        return None
    kernels = kernels[kernels.epoch.isin([kernels.epoch.min(), kernels.epoch.max()])]
    kernels = kernels.sort_values(["stage", "channel", "epoch"])
    cells, maps, sizes = frames.cell_sizes(model), frames.maps(model), [np.abs(one) for one in kernels["values"]]
    shown = cells_to_show(one > VISIBLE * one.max() for one in sizes)
    figure, panels = stage_rows(len(cells), kernels.groupby("stage").size().max())
    for row, (stage, cell) in zip(panels, cells.items(), strict=True):
        here = list(kernels[kernels.stage == stage].itertuples())
        for axes, one in zip(row, here, strict=False):
            limit = float(np.abs(one.values).max())
            look = {"vmin": -limit or -1, "vmax": limit or 1, "cmap": COLOUR_MAP}
            kernel_map(axes, one.values, shown, cell, axes is row[0], maps[stage], **look)
            axes.text(0.04, 0.04, f"{limit:.2g}", transform=axes.transAxes, fontsize=6, color=theme.GREY)
            axes.set_title(f"ch. {one.channel}, {epoch_title(frames, model, one.epoch)}", fontsize=7, pad=2)
        for axes in row[len(here) :]:
            axes.set_visible(False)
    colours = ScalarMappable(Normalize(-1, 1), COLOUR_MAP)
    finish(figure, panels, cells, colours, "value, relative to the largest in the kernel")
    return figure


def epoch_title(frames: Frames, model: str, epoch: int) -> str:
    """`start` for epoch 0, but `published` where the weights are the authors', which have no epochs here."""
    return f"epoch {epoch}" if epoch else "published" if frames.is_published(model) else "start"


def cells_to_show(used: Iterable[np.ndarray]) -> int:
    """Cells on each side of the centre, so that all which are True in one of the kernels show, with one around them."""
    kernels = list(used)
    half = len(kernels[0]) // 2
    farthest = max(int(np.abs(np.argwhere(one) - half).max(initial=0)) for one in kernels)
    return min(half, max(FEWEST_CELLS, farthest + 1))


def kernel_map(
    axes: Axes, values: np.ndarray, shown: int, cell: Cell, labelled: bool, inside: Map, **look: Any
) -> None:
    """A heat map of `shown` cells on each side of the kernel's centre, of float64 (size, size), rows by frequency.

    Around the cells that can meet a map of `inside` cells is a line; the others are shaded.
    """
    half, tick = len(values) // 2, max(1, shown - 1)
    middle = slice(half - shown, half + shown + 1)
    look |= {"cbar": False, "xticklabels": False, "yticklabels": False, "rasterized": True}
    beyond = outside(len(values), inside)[middle, middle]
    if beyond.any():
        axes.pcolormesh(np.where(beyond, 1.0, np.nan), cmap=ListedColormap([theme.OUTSIDE]), alpha=0.7, zorder=2)
        low = [shown + 0.5 - min(side - 0.5, shown + 0.5) for side in (inside[1], inside[0])]
        sides = [2 * (shown + 0.5 - one) for one in low]
        axes.add_patch(Rectangle((low[0], low[1]), *sides, fill=False, edgecolor=theme.GREY, linewidth=0.7, zorder=3))
    sns.heatmap(values[middle, middle], ax=axes, **look)
    places = [shown - tick + 0.5, shown + 0.5, shown + tick + 0.5]
    for set_ticks, size in ((axes.set_yticks, cell[0]), (axes.set_xticks, cell[1])):
        set_ticks(places, [f"\N{MINUS SIGN}{tick * size:g}", "0", f"{tick * size:g}"])
    axes.invert_yaxis()
    framed(axes, labelled)


def framed(axes: Axes, labelled: bool) -> None:
    """A line all around; numbers at the ticks where `labelled`."""
    axes.grid(False)
    axes.spines[:].set_visible(True)
    axes.tick_params(length=2, labelleft=labelled, labelbottom=labelled)
    axes.set_box_aspect(1)


def stage_rows(stages: int, columns: int) -> tuple[Figure, np.ndarray]:
    """A figure, and its panels, a row a stage."""
    figure = Figure(figsize=(theme.TWO_COLUMNS if columns > 2 else theme.ONE_COLUMN, 0.7 + 1.3 * stages))
    figure.set_layout_engine("constrained", w_pad=0.02, h_pad=0.03)
    return figure, figure.subplots(stages, columns, squeeze=False)


def finish(figure: Figure, panels: np.ndarray, cells: dict[int, Cell], scale: ScalarMappable, label: str) -> None:
    """What the rows, both axes and the colours of `panels` are."""
    for axes, (stage, (bands, milliseconds)) in zip(panels[:, 0], cells.items(), strict=True):
        axes.set_ylabel(f"stage {stage}\n{bands} bands x\n{milliseconds:g} ms a cell", fontsize=7)
    figure.supxlabel("time offset (ms)", fontsize=8)
    figure.supylabel("frequency offset (mel bands)", fontsize=8)
    bar = figure.colorbar(scale, ax=panels, aspect=40, pad=0.01, label=label, format="{x:g}")
    bar.outline.set_visible(False)  # type: ignore[operator]
