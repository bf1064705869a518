"""Panels that show the cells of a kernel: frequency upwards in mel bands, time to the right in milliseconds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.report.frames import Frames

FEWEST_CELLS = 3  # shown on each side of the centre

Cell = tuple[int, float]  # mel bands and milliseconds that a cell stands for


def epoch_title(frames: Frames, model: str, epoch: int) -> str:
    """`start` for epoch 0, but `published` where the weights are the authors', which have no epochs here."""
    return f"epoch {epoch}" if epoch else "published" if frames.is_published(model) else "start"


def cells_to_show(used: Iterable[np.ndarray]) -> int:
    """Cells on each side of the centre, so that all which are True in one of the kernels show, with one around them."""
    kernels = list(used)
    half = len(kernels[0]) // 2
    farthest = max(int(np.abs(np.argwhere(one) - half).max(initial=0)) for one in kernels)
    return min(half, max(FEWEST_CELLS, farthest + 1))


def kernel_map(axes: Axes, values: np.ndarray, shown: int, cell: Cell, labelled: bool, **look: Any) -> None:
    """A heat map of `shown` cells on each side of the kernel's centre, of float64 (size, size), rows by frequency."""
    half = len(values) // 2
    middle = slice(half - shown, half + shown + 1)
    look |= {"cbar": False, "xticklabels": False, "yticklabels": False, "rasterized": True}
    sns.heatmap(values[middle, middle], ax=axes, **look)
    tick = max(1, shown - 1)
    places, offsets = [shown - tick + 0.5, shown + 0.5, shown + tick + 0.5], np.array([-tick, 0, tick])
    bands, milliseconds = cell
    axes.invert_yaxis()
    axes.set_xticks(places, [f"{one:g}".replace("-", "\N{MINUS SIGN}") for one in offsets * milliseconds])
    axes.set_yticks(places, [f"{one:g}".replace("-", "\N{MINUS SIGN}") for one in offsets * bands])
    framed(axes, labelled)


def framed(axes: Axes, labelled: bool) -> None:
    """A line all around; numbers at the ticks where `labelled`."""
    axes.grid(False)
    axes.spines[:].set_visible(True)
    axes.tick_params(length=2, labelleft=labelled, labelbottom=labelled)
    axes.set_box_aspect(1)


def label_stages(figure: Figure, panels: Iterable[Axes], cells: dict[int, Cell]) -> None:
    """The y label of a row a stage, and what both axes are."""
    for axes, (stage, (bands, milliseconds)) in zip(panels, cells.items(), strict=True):
        axes.set_ylabel(f"stage {stage}\n{bands} bands x\n{milliseconds:g} ms a cell", fontsize=7)
    figure.supxlabel("time offset (ms)", fontsize=8)
    figure.supylabel("frequency offset (mel bands)", fontsize=8)
