"""Kernels in pictures: where their elements are and went, and the dense kernels that they make.

Heat maps have a kernel's cells, frequency upwards in mel bands, time to the right in ms.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from harness.base.errors import UserError
from harness.report.figures import theme
from harness.report.frames import Frames
from harness.report.geometry import Map, cell_sizes, maps_under, outside

DIVERGING = "PuOr"  # of dense kernels: told apart by the colour-blind; white is 0
SEQUENTIAL = "magma_r"  # of elements: perceptually uniform, light where they are few
VISIBLE = 0.01  # of a dense kernel's largest cell: those that the picture is cut to
NEARLY_ALL = 99.0  # percent of the elements that heat maps show
FEWEST_CELLS = 3  # shown on each side of the centre
MARGIN = 1.15  # of the farthest point of a path, within the axes

Cell = tuple[int, float]  # mel bands and milliseconds that a cell stands for
Shares = dict[int, np.ndarray]  # by stage: percent of its elements in each cell, rows along frequency


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
    cells, maps = cell_sizes(frames, model), maps_under(frames, model)
    shown = _cells_to_show(np.abs(one) > VISIBLE * np.abs(one).max() for one in kernels["values"])
    figure, panels = _stage_rows(len(cells), kernels.groupby("stage").size().max())
    for row, (stage, cell) in zip(panels, cells.items(), strict=True):
        here = list(kernels[kernels.stage == stage].itertuples())
        for axes, one in zip(row, here, strict=False):
            limit = float(np.abs(one.values).max())
            look = {"vmin": -limit or -1, "vmax": limit or 1, "cmap": DIVERGING}
            _heat_map(axes, one.values, shown, cell, axes is row[0], maps[stage], **look)
            axes.text(0.04, 0.04, f"{limit:.2g}", transform=axes.transAxes, fontsize=6, color=theme.GREY)
            axes.set_title(f"ch. {one.channel}, {_epoch_title(frames, model, one.epoch)}", fontsize=7, pad=2)
        for axes in row[len(here) :]:
            axes.set_visible(False)
    colours = ScalarMappable(Normalize(-1, 1), DIVERGING)
    _finish(figure, panels, cells, colours, "value, relative to the largest in the kernel")
    return figure


def kernel_positions(frames: Frames, model: str) -> Figure | None:
    """A row a stage: the elements of all seeds at the first and the last recorded epoch, then at the last one those of
    the backbone's other systems with learned spacings, then the paths of a sample of the first seed's.

    Heat maps are cut to the cells that hold nearly all elements of the stage; the paths have limits of their own. Cells
    outside every map are shaded. Published weights have one column. None where no positions were recorded.
    """
    shares, cells, paths = _shares(frames, model), cell_sizes(frames, model), _sampled(frames, model)
    if not shares:
        return None
    size, rivals = frames.kernel_size(model), frames.by_backbone[frames.backbone(model)]
    others = [one for one in rivals if one != model and frames.learns_spacings(one) and frames.kernel_size(one) == size]
    whose = f"{frames.method(model)},\n" if others else ""
    ends = sorted({min(shares), max(shares)})
    columns = [(f"{whose}{_epoch_title(frames, model, epoch)}", shares[epoch]) for epoch in ends]
    for other in others:
        of_other = _shares(frames, other)
        last = max(of_other, default=0)
        title = f"{frames.method(other)},\n{_epoch_title(frames, other, last)}"
        columns.append((title, of_other.get(last, {})))
    with_paths, maps = paths.epoch.nunique() > 1, maps_under(frames, model)
    figure, panels = _stage_rows(len(cells), len(columns) + with_paths)
    seen = np.concatenate([one[one > 0] for _, some in columns for one in some.values()])
    scale = LogNorm(seen.min(), max(seen.max(), 1.01 * seen.min()))  # from the fewest elements in a cell that has some
    for row, (stage, cell) in zip(panels, cells.items(), strict=True):
        there = [some[stage] for _, some in columns if stage in some]
        shown = _cells_to_show(map(_core, there)) if there else 0
        for axes, (_, some) in zip(row, columns, strict=False):
            if stage in some:
                elements = np.where(some[stage] > 0, some[stage], np.nan)  # cells without an element are white
                look = {"norm": scale, "cmap": SEQUENTIAL}
                _heat_map(axes, elements, shown, cell, axes is row[0], maps[stage], **look)
            else:
                axes.set_visible(False)
        if with_paths:
            _paths(row[-1], paths[paths.stage == stage], cell, maps[stage])
    for axes, (title, _) in zip(panels[0], columns, strict=False):
        axes.set_title(title, fontsize=8)
    _finish(figure, panels[:, : len(columns)], cells, ScalarMappable(scale, SEQUENTIAL), "% of the stage's elements")
    if with_paths:
        panels[0, -1].set_title("paths of a sample", fontsize=8)
        theme.shared_legend(figure, "upper right")
    return figure


def outside_shares(frames: Frames, model: str) -> dict[int, float]:
    """Percent of a stage's elements in cells outside every map at the last recorded epoch, by stage."""
    shares, maps = _shares(frames, model), maps_under(frames, model)
    last = shares[max(shares)] if shares else {}
    return {stage: float(one[outside(len(one), maps[stage])].sum()) for stage, one in last.items()}


def _shares(frames: Frames, model: str) -> dict[int, Shares]:
    """By epoch, all seeds together."""
    size, found = frames.kernel_size(model), dict[int, Shares]()
    for (epoch, stage), cells in frames.densities[frames.densities.model == model].groupby(["epoch", "stage"]):
        share = np.zeros((size, size))
        np.add.at(share, (cells.row, cells.column), cells["count"])
        found.setdefault(epoch, {})[stage] = 100 * share / share.sum()
    return found


def _sampled(frames: Frames, model: str) -> pd.DataFrame:
    """Places of the sampled elements of the first seed. Raises UserError where an element lacks an epoch."""
    found = frames.trajectories
    found = found[(found.model == model) & (found.seed == frames.seeds[0])]
    if (found.groupby(["stage", "element"]).epoch.nunique() < found.epoch.nunique()).any():
        raise UserError(f"{found.source.iloc[0]}: an element lacks an epoch; delete it and run its stage again")
    return found


def _core(share: np.ndarray) -> np.ndarray:
    """Which cells of a share in percent lie in the smallest square around the centre that holds NEARLY_ALL of it."""
    half = len(share) // 2
    reach = np.abs(np.indices(share.shape) - half).max(axis=0)
    return reach <= next(k for k in range(half + 1) if share[reach <= k].sum() >= NEARLY_ALL)


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
    _framed(axes, labelled=True)


def _epoch_title(frames: Frames, model: str, epoch: int) -> str:
    """`start` for epoch 0, but `published` where the weights are the authors', which have no epochs here."""
    published = frames.first_runs.start[model] == "published"
    return f"epoch {epoch}" if epoch else "published" if published else "start"


def _cells_to_show(used: Iterable[np.ndarray]) -> int:
    """Cells on each side of the centre, so that all which are True in one of the kernels show, with one around them."""
    kernels = list(used)
    half = len(kernels[0]) // 2
    farthest = max(int(np.abs(np.argwhere(one) - half).max(initial=0)) for one in kernels)
    return min(half, max(FEWEST_CELLS, farthest + 1))


def _heat_map(axes: Axes, values: np.ndarray, shown: int, cell: Cell, labelled: bool, inside: Map, **look: Any) -> None:
    """A heat map of `shown` cells on each side of the kernel's centre, of float64 (size, size), rows by frequency.

    Around the cells that can meet a map of `inside` cells is a line; the others are shaded.
    """
    half, tick = len(values) // 2, max(1, shown - 1)
    middle = slice(half - shown, half + shown + 1)
    beyond = outside(len(values), inside)[middle, middle]
    if beyond.any():
        axes.pcolormesh(np.where(beyond, 1.0, np.nan), cmap=ListedColormap([theme.OUTSIDE]), alpha=0.7, zorder=2)
        low = [shown + 0.5 - min(side - 0.5, shown + 0.5) for side in (inside[1], inside[0])]
        sides = [2 * (shown + 0.5 - one) for one in low]
        axes.add_patch(Rectangle((low[0], low[1]), *sides, fill=False, edgecolor=theme.GREY, linewidth=0.7, zorder=3))
    look |= {"cbar": False, "xticklabels": False, "yticklabels": False, "rasterized": True}
    sns.heatmap(values[middle, middle], ax=axes, **look)
    places = [shown - tick + 0.5, shown + 0.5, shown + tick + 0.5]
    for set_ticks, size in ((axes.set_yticks, cell[0]), (axes.set_xticks, cell[1])):
        set_ticks(places, [f"\N{MINUS SIGN}{tick * size:g}", "0", f"{tick * size:g}"])
    axes.invert_yaxis()
    _framed(axes, labelled)


def _framed(axes: Axes, labelled: bool) -> None:
    """A line all around; numbers at the ticks where `labelled`."""
    axes.grid(False)
    axes.spines[:].set_visible(True)
    axes.tick_params(length=2, labelleft=labelled, labelbottom=labelled)
    axes.set_box_aspect(1)


def _stage_rows(stages: int, columns: int) -> tuple[Figure, np.ndarray]:
    """A figure, and its panels, a row a stage."""
    figure = Figure(figsize=(theme.TWO_COLUMNS if columns > 2 else theme.ONE_COLUMN, 0.7 + 1.3 * stages))
    figure.set_layout_engine("constrained", w_pad=0.02, h_pad=0.03)
    return figure, figure.subplots(stages, columns, squeeze=False)


def _finish(figure: Figure, panels: np.ndarray, cells: dict[int, Cell], scale: ScalarMappable, label: str) -> None:
    """What the rows, both axes and the colours of `panels` are."""
    for axes, (stage, (bands, milliseconds)) in zip(panels[:, 0], cells.items(), strict=True):
        axes.set_ylabel(f"stage {stage}\n{bands} bands x\n{milliseconds:g} ms a cell", fontsize=7)
    figure.supxlabel("time offset (ms)", fontsize=8)
    figure.supylabel("frequency offset (mel bands)", fontsize=8)
    bar = figure.colorbar(scale, ax=panels, aspect=40, pad=0.01, label=label, format="{x:g}")
    bar.outline.set_visible(False)  # type: ignore[operator]
