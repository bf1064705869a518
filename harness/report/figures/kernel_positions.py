"""Where the elements of the DCLS kernels are: heat maps, and the paths of a sample."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

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
from harness.report.geometry import Map, outside

COLOUR_MAP = "magma_r"  # perceptually uniform, light where elements are few
NEARLY_ALL = 99.0  # percent of the elements that heat maps show
MARGIN = 1.15  # of the farthest point of a path, within the axes
Shares = dict[tuple[int, int], np.ndarray]


def kernel_positions(frames: Frames, model: str) -> Figure | None:
    """A row a stage: the elements of all seeds at the first and the last recorded epoch, then at the last one those of
    the backbone's other systems with learned spacings, then the paths of a sample of the first seed's.

    Heat maps are cut to the cells that hold nearly all elements of the stage; the paths have limits of their own. Cells
    outside every map are shaded. Published weights have one column. None where no positions were recorded.
    """
    shares, cells, paths = _shares(frames, model), frames.cell_sizes(model), _sampled(frames, model)
    if not shares:
        return None
    epochs = sorted({epoch for epoch, _ in shares})
    others = _others(frames, model)
    shown_epochs = sorted({epochs[0], epochs[-1]})
    whose = f"{frames.systems[model].method},\n" if others else ""
    columns = [
        (f"{whose}{epoch_title(frames, model, one)}", {stage: shares.get((one, stage)) for stage in cells})
        for one in shown_epochs
    ]
    for other in others:
        of_other = _shares(frames, other)
        last = max((epoch for epoch, _ in of_other), default=0)
        title = f"{frames.systems[other].method},\n{epoch_title(frames, other, last)}"
        columns.append((title, {stage: of_other.get((last, stage)) for stage in cells}))
    with_paths, maps = paths.epoch.nunique() > 1, frames.maps(model)
    figure, panels = stage_rows(len(cells), len(columns) + with_paths)
    scale = _scale([one for _, some in columns for one in some.values() if one is not None])
    for row, (stage, cell) in zip(panels, cells.items(), strict=True):
        there = [one for _, some in columns if (one := some[stage]) is not None]
        shown = cells_to_show(map(_core, there)) if there else 0
        for axes, (_, some) in zip(row, columns, strict=False):
            _map(axes, some[stage], shown, cell, maps[stage], scale, labelled=axes is row[0])
        if with_paths:
            _paths(row[-1], paths[paths.stage == stage], cell, maps[stage])
    for axes, (title, _) in zip(panels[0], columns, strict=False):
        axes.set_title(title, fontsize=8)
    colours = ScalarMappable(scale, COLOUR_MAP)
    finish(figure, panels[:, : len(columns)], cells, colours, "% of the stage's elements")
    if with_paths:
        panels[0, -1].set_title("paths of a sample", fontsize=8)
        theme.shared_legend(figure, "upper right")
    return figure


def outside_shares(frames: Frames, model: str) -> dict[int, float]:
    """Percent of a stage's elements in cells outside every map at the last recorded epoch, by stage."""
    shares, maps = _shares(frames, model), frames.maps(model)
    last = max((epoch for epoch, _ in shares), default=0)
    return {
        stage: float(one[outside(len(one), maps[stage])].sum()) for (at, stage), one in shares.items() if at == last
    }


def _others(frames: Frames, model: str) -> list[str]:
    """The other systems of the backbone whose spacings were learned, with kernels of the same size."""
    found = []
    for name, system in frames.systems.items():
        dcls = system.model.dcls
        if name != model and frames.backbone(name) == frames.backbone(model) and dcls and dcls.position_rate:
            found += [name] if frames.kernel_size(name) == frames.kernel_size(model) else []
    return found


def _shares(frames: Frames, model: str) -> Shares:
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


def _scale(shares: Iterable[np.ndarray]) -> LogNorm:
    """Colours from the fewest elements in a cell that has some."""
    seen = np.concatenate([share[share > 0] for share in shares])
    return LogNorm(seen.min(), max(seen.max(), 1.01 * seen.min()))


def _core(share: np.ndarray) -> np.ndarray:
    """Which cells of a share in percent lie in the smallest square around the centre that holds NEARLY_ALL of it."""
    half = len(share) // 2
    reach = np.abs(np.indices(share.shape) - half).max(axis=0)
    return reach <= next(k for k in range(half + 1) if share[reach <= k].sum() >= NEARLY_ALL)


def _map(
    axes: Axes, share: np.ndarray | None, shown: int, cell: Cell, inside: Map, scale: LogNorm, labelled: bool
) -> None:
    """Cells without an element are white; those outside every map are shaded."""
    if share is None:
        axes.set_visible(False)
        return
    elements = np.where(share > 0, share, np.nan)
    kernel_map(axes, elements, shown, cell, labelled, inside, norm=scale, cmap=COLOUR_MAP)


def _paths(axes: Axes, elements: pd.DataFrame, cell: Cell, inside: Map) -> None:
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
    beyond: list[Any] = [(axes.axhspan, inside[0] - 0.5, bands), (axes.axvspan, inside[1] - 0.5, milliseconds)]
    for span, edge, size in (one for one in beyond if one[1] < farthest):
        for side in (-size, size):
            span(side * edge, side * farthest, color=theme.OUTSIDE, zorder=0, linewidth=0)
    axes.set(xticks=ticks * milliseconds, xlim=limits * milliseconds, xlabel="")
    axes.set(yticks=ticks * bands, ylim=limits * bands, ylabel="")
    framed(axes, labelled=True)
