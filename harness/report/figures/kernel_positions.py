"""Where the elements of the DCLS kernels are: heat maps, the paths of a sample, and an animation."""

from __future__ import annotations

from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from harness.base.errors import UserError
from harness.report.figures import theme
from harness.report.figures.kernel_axes import Cell, cells_to_show, epoch_title, framed, kernel_map, label_stages
from harness.report.frames import Frames

COLOUR_MAP = "magma_r"  # perceptually uniform, light where elements are few
MARGIN = 1.15  # of the farthest point of a path, within the axes

Shares = dict[tuple[int, int], np.ndarray]  # percent of a stage's elements in each cell, by epoch and stage


def kernel_positions(frames: Frames, model: str) -> Figure | None:
    """A row a stage: the elements of all seeds at the first, the middle and the last recorded epoch, then the paths of
    a sample of the first seed's.

    Heat maps are cut to the cells that hold elements; the paths have limits of their own. Published weights have one
    column. None where no positions were recorded.
    """
    shares, cells = shares_of(frames, model), frames.cell_sizes(model)
    if not shares:
        return None
    epochs = sorted({epoch for epoch, _ in shares})
    shown = sorted({epochs[0], epochs[len(epochs) // 2], epochs[-1]})
    paths = paths_of(frames, model)
    with_paths = paths.epoch.nunique() > 1
    columns = len(shown) + with_paths
    figure = Figure(figsize=(theme.TWO_COLUMNS if columns > 2 else theme.ONE_COLUMN, 0.8 + 1.3 * len(cells)))
    figure.set_layout_engine("constrained", w_pad=0.02, h_pad=0.03)
    panels = figure.subplots(len(cells), columns, squeeze=False)
    reach, scale = cells_to_show(share > 0 for share in shares.values()), colour_scale(shares)
    for row, (stage, cell) in zip(panels, cells.items(), strict=True):
        for axes, epoch in zip(row, shown, strict=False):
            heat_map(axes, shares.get((epoch, stage)), reach, cell, scale, labelled=axes is row[0])
        if with_paths:
            _paths(row[-1], paths[paths.stage == stage], cell)
    for axes, epoch in zip(panels[0], shown, strict=False):
        axes.set_title(epoch_title(frames, model, epoch))
    label_stages(figure, panels[:, 0], cells)
    bar = figure.colorbar(
        matplotlib.cm.ScalarMappable(scale, COLOUR_MAP),
        ax=panels[:, : len(shown)],
        aspect=40,
        pad=0.01,
        label="% of the stage's elements",
    )
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    bar.outline.set_visible(False)  # type: ignore[operator]
    if with_paths:
        panels[0, -1].set_title("paths of a sample")
        figure.legend(handles=_path_legend(), loc="outside upper right", ncols=3)
    return figure


def kernel_animation(frames: Frames, model: str) -> list[Figure]:
    """A figure a recorded epoch, a panel a stage: the elements of all seeds, and the sample of the first seed's.

    Empty where there are not at least two epochs.
    """
    shares, cells, paths = shares_of(frames, model), frames.cell_sizes(model), paths_of(frames, model)
    epochs = sorted({epoch for epoch, _ in shares})
    if len(epochs) < 2:
        return []
    reach, scale = cells_to_show(share > 0 for share in shares.values()), colour_scale(shares)
    drawn = []
    for epoch in epochs:
        figure = Figure(figsize=(theme.TWO_COLUMNS, 2.5), layout="constrained")
        for axes, (stage, cell) in zip(figure.subplots(1, len(cells), squeeze=False)[0], cells.items(), strict=True):
            heat_map(axes, shares.get((epoch, stage)), reach, cell, scale, labelled=True)
            sample = paths[(paths.epoch == epoch) & (paths.stage == stage)]
            centre = reach + 0.5  # of the middle cell, counted from the corner of the map
            look = {"color": "white", "edgecolor": "black", "s": 9, "linewidth": 1}
            sns.scatterplot(x=sample.column + centre, y=sample.row + centre, ax=axes, **look)
            axes.set(title=f"stage {stage}", xlabel="", ylabel="")
        figure.axes[0].set_ylabel("frequency offset (mel bands)")
        figure.supxlabel("time offset (ms)", fontsize=8)
        figure.suptitle(epoch_title(frames, model, epoch), fontsize=9)
        drawn.append(figure)
    return drawn


def shares_of(frames: Frames, model: str) -> Shares:
    """All seeds together, float64 (size, size), rows along frequency."""
    size = frames.kernel_size(model)
    found: Shares = {}
    counts = frames.densities[frames.densities.model == model]
    for key, cells in counts.groupby(["epoch", "stage"]):
        share = np.zeros((size, size))
        np.add.at(share, (cells.row, cells.column), cells["count"])
        found[key] = 100 * share / share.sum()
    return found


def paths_of(frames: Frames, model: str) -> pd.DataFrame:
    """Places of the sampled elements of the first seed. Raises UserError where an element lacks an epoch."""
    found = frames.trajectories
    found = found[(found.model == model) & (found.seed == frames.seeds[0])]
    if (found.groupby(["stage", "element"]).epoch.nunique() < found.epoch.nunique()).any():
        raise UserError(f"{found.source.iloc[0]}: an element lacks an epoch; delete it and run its stage again")
    return found


def colour_scale(shares: Shares) -> LogNorm:
    """From the fewest elements in a cell that has some to the most."""
    seen = np.concatenate([share[share > 0] for share in shares.values()])
    return LogNorm(seen.min(), max(seen.max(), 1.01 * seen.min()))


def heat_map(axes: Axes, share: np.ndarray | None, reach: int, cell: Cell, scale: LogNorm, labelled: bool) -> None:
    """Cells without an element are white."""
    if share is None:
        axes.set_visible(False)
        return
    kernel_map(axes, np.where(share > 0, share, np.nan), reach, cell, labelled, norm=scale, cmap=COLOUR_MAP)


def _paths(axes: Axes, elements: pd.DataFrame, cell: Cell) -> None:
    """A line an element from its ring, where it started, to its dot, where it ended."""
    bands, milliseconds = cell
    data = elements.assign(time=elements.column * milliseconds, frequency=elements.row * bands)
    place = {"data": data, "x": "time", "y": "frequency", "ax": axes}
    sns.lineplot(**place, units="element", estimator=None, sort=False, color=theme.GREY, linewidth=0.7)
    for epoch, face, edge in ((data.epoch.min(), "white", theme.GREY), (data.epoch.max(), theme.DCLS, "none")):
        sns.scatterplot(**place | {"data": data[data.epoch == epoch]}, s=7, color=face, edgecolor=edge, zorder=3)
    farthest = max(1.0, MARGIN * float(elements[["row", "column"]].abs().to_numpy().max()))
    ticks = np.array([-1, 0, 1]) * int(farthest)
    axes.set(xticks=ticks * milliseconds, yticks=ticks * bands, xlabel="", ylabel="")
    axes.set(xlim=(-farthest * milliseconds, farthest * milliseconds), ylim=(-farthest * bands, farthest * bands))
    framed(axes, labelled=True)


def _path_legend() -> list[Line2D]:
    dot: dict[str, Any] = {"marker": "o", "linestyle": "", "markersize": 3}
    return [
        Line2D([], [], **dot, color=theme.GREY, markerfacecolor="white", label="start"),
        Line2D([], [], color=theme.GREY, linewidth=0.7, label="path"),
        Line2D([], [], **dot, color=theme.DCLS, label="end"),
    ]
