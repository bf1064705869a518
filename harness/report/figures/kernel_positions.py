"""Where the elements of the DCLS kernels are: heat maps, the paths of a sample, and an animation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from harness.base.errors import UserError
from harness.report.figures import theme
from harness.report.figures.kernel_maps import (
    Cell,
    cells_to_show,
    epoch_title,
    finish,
    framed,
    kernel_map,
    stage_rows,
)
from harness.report.frames import Frames
from harness.report.geometry import reach

COLOUR_MAP = "magma_r"  # perceptually uniform, light where elements are few
OUTSIDE: dict[str, Any] = {
    "facecolor": "#EDEDED",
    "edgecolor": "#BDBDBD",
    "hatch": "////",
    "linewidth": 0,
    "alpha": 0.6,
}
MARGIN = 1.15  # of the farthest point of a path, within the axes


def kernel_positions(frames: Frames, model: str) -> Figure | None:
    """A row a stage: the elements of all seeds at the first, the middle and the last recorded epoch, then the paths of
    a sample of the first seed's.

    Heat maps are cut to the cells that hold elements; the paths have limits of their own. Published weights have one
    column. None where no positions were recorded.
    """
    shares, cells, paths = _shares(frames, model), frames.cell_sizes(model), _sampled(frames, model)
    if not shares:
        return None
    epochs = sorted({epoch for epoch, _ in shares})
    epochs = sorted({epochs[0], epochs[len(epochs) // 2], epochs[-1]})
    with_paths = paths.epoch.nunique() > 1
    figure, panels = stage_rows(len(cells), len(epochs) + with_paths)
    shown, scale = _scales(shares)
    for row, (stage, cell) in zip(panels, cells.items(), strict=True):
        for axes, epoch in zip(row, epochs, strict=False):
            _map(axes, shares.get((epoch, stage)), shown, cell, scale, labelled=axes is row[0])
            outside(axes, frames, model, stage, shown)
        if with_paths:
            _paths(row[-1], paths[paths.stage == stage], cell)
    for axes, epoch in zip(panels[0], epochs, strict=False):
        axes.set_title(epoch_title(frames, model, epoch))
    colours = ScalarMappable(scale, COLOUR_MAP)
    finish(figure, panels[:, : len(epochs)], cells, colours, "% of the stage's elements")
    if with_paths:
        panels[0, -1].set_title("paths of a sample")
        theme.shared_legend(figure, "upper right")
    return figure


def kernel_animation(frames: Frames, model: str) -> list[Figure]:
    """A figure a recorded epoch, a panel a stage: the elements of all seeds, and the sample of the first seed's.

    Empty where there are not at least two epochs.
    """
    shares, cells, paths = _shares(frames, model), frames.cell_sizes(model), _sampled(frames, model)
    epochs = sorted({epoch for epoch, _ in shares})
    return [_frame(frames, model, epoch, shares, cells, paths) for epoch in epochs if len(epochs) > 1]


def _frame(
    frames: Frames,
    model: str,
    epoch: int,
    shares: dict[tuple[int, int], np.ndarray],
    cells: dict[int, Cell],
    paths: pd.DataFrame,
) -> Figure:
    shown, scale = _scales(shares)
    figure = Figure(figsize=(theme.TWO_COLUMNS, 2.5), layout="constrained")
    for axes, (stage, cell) in zip(figure.subplots(1, len(cells), squeeze=False)[0], cells.items(), strict=True):
        _map(axes, shares.get((epoch, stage)), shown, cell, scale, labelled=True)
        sample = paths[(paths.epoch == epoch) & (paths.stage == stage)]
        look = {"color": "white", "edgecolor": "black", "s": 9, "linewidth": 1}
        # from the corner of the map to the middle of its middle cell: shown + 0.5
        sns.scatterplot(x=sample.column + shown + 0.5, y=sample.row + shown + 0.5, ax=axes, **look)
        axes.set(title=f"stage {stage}", xlabel="", ylabel="")
    figure.axes[0].set_ylabel("frequency offset (mel bands)")
    figure.supxlabel("time offset (ms)", fontsize=8)
    figure.suptitle(epoch_title(frames, model, epoch), fontsize=9)
    return figure


def outside(axes: Axes, frames: Frames, model: str, stage: int, shown: int) -> None:
    """Hatch the cells of a kernel map that never meet anything but padding."""
    size = frames.kernel_size(model)
    far = reach(frames.systems[model].model.backbone, stage, frames.clip_seconds, size)
    (rows, columns), whole = (2 * min(cells, shown) + 1 for cells in far), 2 * shown + 1
    below, beside = (whole - rows) / 2, (whole - columns) / 2
    for corner, width, height in (
        *(((0, start), whole, below) for start in (0, whole - below)),
        *(((start, below), beside, rows) for start in (0, whole - beside)),
    ):
        if width and height:
            axes.add_patch(Rectangle(corner, width, height, **OUTSIDE))


def _shares(frames: Frames, model: str) -> dict[tuple[int, int], np.ndarray]:
    """Percent of a stage's elements in each cell by epoch and stage, all seeds together: float64 (size, size), rows
    along frequency."""
    size, found = frames.kernel_size(model), {}
    for key, cells in frames.densities[frames.densities.model == model].groupby(["epoch", "stage"]):
        share = np.zeros((size, size))
        np.add.at(share, (cells.row, cells.column), cells["count"])
        found[key] = 100 * share / share.sum()
    return found


def _sampled(frames: Frames, model: str) -> pd.DataFrame:
    """Places of the sampled elements of the first seed. Raises UserError where an element lacks an epoch."""
    found = frames.trajectories
    found = found[(found.model == model) & (found.seed == frames.seeds[0])]
    if (found.groupby(["stage", "element"]).epoch.nunique() < found.epoch.nunique()).any():
        raise UserError(f"{found.source.iloc[0]}: an element lacks an epoch; delete it and run its stage again")
    return found


def _scales(shares: dict[tuple[int, int], np.ndarray]) -> tuple[int, LogNorm]:
    """Cells shown on each side of the centre, and colours from the fewest elements in a cell that has some."""
    seen = np.concatenate([share[share > 0] for share in shares.values()])
    scale = LogNorm(seen.min(), max(seen.max(), 1.01 * seen.min()))
    return cells_to_show(share > 0 for share in shares.values()), scale


def _map(axes: Axes, share: np.ndarray | None, shown: int, cell: Cell, scale: LogNorm, labelled: bool) -> None:
    """Cells without an element are white."""
    if share is None:
        axes.set_visible(False)
    else:
        kernel_map(axes, np.where(share > 0, share, np.nan), shown, cell, labelled, norm=scale, cmap=COLOUR_MAP)


def _paths(axes: Axes, elements: pd.DataFrame, cell: Cell) -> None:
    """A line an element from its ring, where it started, to its dot, where it ended."""
    bands, milliseconds = cell
    data = elements.assign(time=elements.column * milliseconds, frequency=elements.row * bands)
    place = {"x": "time", "y": "frequency", "legend": False, "ax": axes}
    line = {"units": "element", "estimator": None, "sort": False, "color": theme.GREY, "linewidth": 0.7}
    sns.lineplot(data, **place, **line, label="path")
    ends = (("start", data.epoch.min(), "white", theme.GREY), ("end", data.epoch.max(), theme.DCLS, "none"))
    for label, epoch, face, edge in ends:
        look = {"facecolor": face, "edgecolor": edge, "s": 7, "linewidth": 0.6, "zorder": 3, "label": label}
        sns.scatterplot(data[data.epoch == epoch], **place, **look)
    farthest = max(1.0, MARGIN * float(elements[["row", "column"]].abs().to_numpy().max()))
    limits, ticks = np.array([-farthest, farthest]), np.array([-1, 0, 1]) * int(farthest)
    axes.set(xticks=ticks * milliseconds, xlim=limits * milliseconds, xlabel="")
    axes.set(yticks=ticks * bands, ylim=limits * bands, ylabel="")
    framed(axes, labelled=True)
