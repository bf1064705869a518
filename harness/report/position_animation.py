"""The kernel elements' positions as an animation, a frame a recorded epoch."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from harness.report import recorded, style
from harness.report.load import Results
from harness.report.position_maps import colour_scale, frame, heat_map, shown_cells


def position_animation(results: Results, model: str) -> list[Figure]:
    """A panel a stage in each frame: the density, all seeds together, and the sampled elements of the first seed.

    Empty where there are not at least two epochs.
    """
    shares, cells = recorded.shares(results, model), recorded.cells_of(results, model)
    epochs = sorted({epoch for epoch, _ in shares})
    if len(epochs) < 2:
        return []
    paths = recorded.paths_of_elements(results, model)
    return [_frame(epoch, place, shares, paths, cells) for place, epoch in enumerate(epochs)]


def _frame(
    epoch: int,
    place: int,
    shares: dict[tuple[int, int], np.ndarray],
    paths: dict[int, np.ndarray],
    cells: dict[int, tuple[int, float]],
) -> Figure:
    stages = sorted({stage for _, stage in shares})
    figure = Figure(figsize=(style.DOUBLE, 2.5), layout="constrained")
    panels = figure.subplots(1, len(stages), squeeze=False)[0]
    figure.suptitle(f"epoch {epoch}" if epoch else "start", fontsize=9)
    for axes, stage in zip(panels, stages, strict=True):
        bands, milliseconds = cells[stage]
        heat_map(axes, shares.get((epoch, stage)), cells[stage], colour_scale(shares))
        if stage in paths and place < paths[stage].shape[1]:
            rows, columns = paths[stage][:, place].T
            axes.plot(columns * milliseconds, rows * bands, "o", markersize=2.5, color="white", markeredgecolor="black")
        frame(axes, shown_cells(shares), cells[stage], labelled=True)
        axes.set_title(f"stage {stage}")
    panels[0].set_ylabel("frequency offset (mel bands)")
    figure.supxlabel("time offset (ms)", fontsize=8)
    return figure
