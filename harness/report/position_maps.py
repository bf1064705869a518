"""Where the elements of the DCLS kernels are as training goes on: a heat map for each recorded epoch."""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from harness.report import recorded, style
from harness.report.load import Results

MOST_COLUMNS = 7  # epochs shown; of more, the first and the last ones
FEWEST_CELLS = 3  # shown on each side of the centre
MAPS = "magma_r"  # perceptually uniform, light where elements are few


def position_maps(results: Results, model: str) -> Figure | None:
    """A row a stage, a column a recorded epoch, all seeds together.

    Axes are in mel bands and milliseconds, cut to the cells that hold elements. Published weights have one column.
    None where nothing was recorded. Raises UserError where a position file is missing or no position file.
    """
    shares, cells = recorded.shares(results, model), recorded.cells_of(results, model)
    if not shares:
        return None
    stages = sorted({stage for _, stage in shares})
    epochs = shown_epochs(sorted({epoch for epoch, _ in shares}))
    figure = Figure(figsize=(style.DOUBLE if len(epochs) > 2 else style.SINGLE, 0.6 + 1.1 * len(stages)))
    figure.set_layout_engine("constrained", w_pad=0.02, h_pad=0.03)
    panels = figure.subplots(len(stages), len(epochs), squeeze=False)
    reach, scale = shown_cells(shares), colour_scale(shares)
    for row, stage in enumerate(stages):
        for column, epoch in enumerate(epochs):
            axes = panels[row, column]
            heat_map(axes, shares.get((epoch, stage)), cells[stage], scale)
            frame(axes, reach, cells[stage], labelled=column == 0)
            if row == 0:
                start = "published" if recorded.is_published(results, model) else "start"
                axes.set_title(f"epoch {epoch}" if epoch else start)
        bands, milliseconds = cells[stage]
        panels[row, 0].set_ylabel(f"stage {stage}\n{bands} bands x\n{milliseconds:g} ms a cell", fontsize=7)
    bar = figure.colorbar(
        matplotlib.cm.ScalarMappable(scale, MAPS), ax=panels, aspect=40, pad=0.01, label="% of the stage's elements"
    )
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    bar.outline.set_visible(False)  # type: ignore[operator]
    figure.supxlabel("time offset (ms)", fontsize=8)
    figure.supylabel("frequency offset (mel bands)", fontsize=8)
    return figure


def shown_epochs(epochs: list[int]) -> list[int]:
    return epochs if len(epochs) <= MOST_COLUMNS else [epochs[0], *epochs[1 - MOST_COLUMNS :]]


def shown_cells(shares: dict[tuple[int, int], np.ndarray]) -> int:
    """Cells on each side of the centre, so that all that hold an element are shown, with one around them."""
    half = len(next(iter(shares.values()))) // 2
    farthest = max(int(np.abs(np.argwhere(share > 0) - half).max()) for share in shares.values())
    return min(half, max(FEWEST_CELLS, farthest + 1))


def colour_scale(shares: dict[tuple[int, int], np.ndarray]) -> LogNorm:
    """From the fewest elements in a cell that has some to the most."""
    seen = [share[share > 0] for share in shares.values()]
    lowest, highest = min(one.min() for one in seen), max(one.max() for one in seen)
    return LogNorm(lowest, max(highest, 1.01 * lowest))


def heat_map(axes: Axes, share: np.ndarray | None, cell: tuple[int, float], scale: LogNorm) -> None:
    """Offset 0 is the kernel's centre, frequency upwards in mel bands, time to the right in milliseconds."""
    if share is None:
        return
    bands, milliseconds = cell
    side = len(share) / 2
    edges = (-side * milliseconds, side * milliseconds, -side * bands, side * bands)
    shown = np.ma.masked_equal(share, 0)
    axes.imshow(shown, origin="lower", extent=edges, norm=scale, cmap=MAPS, interpolation="none", aspect="auto")


def frame(axes: Axes, reach: int, cell: tuple[int, float], labelled: bool) -> None:
    """Limits at `reach` cells from the centre, ticks at the centre and at a round number of cells."""
    bands, milliseconds = cell
    tick = max(1, reach - 1)
    axes.grid(False)
    axes.spines[["top", "right"]].set_visible(True)
    axes.set_xlim(-(reach + 0.5) * milliseconds, (reach + 0.5) * milliseconds)
    axes.set_ylim(-(reach + 0.5) * bands, (reach + 0.5) * bands)
    axes.set_xticks([-tick * milliseconds, 0, tick * milliseconds])
    axes.set_yticks([-tick * bands, 0, tick * bands])
    axes.tick_params(length=2, labelleft=labelled, labelbottom=labelled)
    axes.set_box_aspect(1)
