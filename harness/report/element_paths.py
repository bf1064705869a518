"""The paths of a fixed sample of kernel elements from the first recorded epoch to the last."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from harness.report import recorded, style
from harness.report.load import Results
from harness.report.position_maps import frame

MARGIN = 1.15  # of the farthest point, within the axes


def element_paths(results: Results, model: str) -> Figure | None:
    """A panel a stage: a line an element through where it was at the recorded epochs, of the first seed.

    Axes are in mel bands and milliseconds, each panel with its own limits. None where no paths were recorded, or where
    there is one epoch. Raises UserError where trajectories.csv is no such file.
    """
    paths = recorded.paths_of_elements(results, model)
    if not paths or next(iter(paths.values())).shape[1] < 2:
        return None
    cells = recorded.cells_of(results, model)
    figure = Figure(figsize=(style.DOUBLE, 2.4), layout="constrained")
    panels = figure.subplots(1, len(paths), squeeze=False)[0]
    for axes, (stage, elements) in zip(panels, paths.items(), strict=True):
        _panel(axes, elements, cells[stage])
        bands, milliseconds = cells[stage]
        axes.set_title(f"stage {stage}\n{bands} bands x {milliseconds:g} ms a cell", fontsize=8)
    panels[0].set_ylabel("frequency offset (mel bands)")
    figure.supxlabel("time offset (ms)", fontsize=8)
    handles = [
        Line2D(
            [], [], marker="o", linestyle="", markersize=3, markerfacecolor="white", color=style.GREY, label="start"
        ),
        Line2D([], [], color=style.GREY, linewidth=0.7, label="through the recorded epochs"),
        Line2D([], [], marker="o", linestyle="", markersize=3, color=style.DCLS, label="end"),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=3)
    return figure


def _panel(axes: Axes, elements: np.ndarray, cell: tuple[int, float]) -> None:
    """Elements (elements, epochs, 2) in cells; the grid is that of the kernel's cells."""
    bands, milliseconds = cell
    for element in elements:
        time, frequency = element[:, 1] * milliseconds, element[:, 0] * bands
        axes.plot(time, frequency, color=style.GREY, linewidth=0.7)
        axes.plot(
            time[0], frequency[0], "o", markersize=2.6, markerfacecolor="white", color=style.GREY, markeredgewidth=0.6
        )
        axes.plot(time[-1], frequency[-1], "o", markersize=2.6, color=style.DCLS, markeredgewidth=0.0, zorder=3)
    farthest = max(1.0, MARGIN * float(np.abs(elements).max()))
    frame(axes, round(farthest + 0.5), cell, labelled=True)
    axes.set_xlim(-farthest * milliseconds, farthest * milliseconds)
    axes.set_ylim(-farthest * bands, farthest * bands)
    tick = int(farthest)
    axes.set_xticks([-tick * milliseconds, 0, tick * milliseconds])
    axes.set_yticks([-tick * bands, 0, tick * bands])
