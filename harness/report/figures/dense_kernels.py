"""Dense DCLS kernels of a few channels, before and after training."""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from harness.report.figures import theme
from harness.report.figures.kernel_axes import cells_to_show, epoch_title, kernel_map, label_stages
from harness.report.frames import Frames

COLOUR_MAP = "PuOr"  # diverging, told apart by the colour-blind; white is 0
VISIBLE = 0.01  # of a kernel's largest cell: those that the picture is cut to


def dense_kernels(frames: Frames, model: str) -> Figure | None:
    """A row a stage, a pair of columns a channel: the kernel at the first and at the last recorded epoch.

    Each kernel has its own colour scale, symmetrical about 0, whose end is written into it. None where none was
    recorded.
    """
    kernels = frames.kernels[(frames.kernels.model == model) & (frames.kernels.seed == frames.seeds[0])]
    if kernels.empty:
        return None
    cells = frames.cell_sizes(model)
    epochs = sorted({kernels.epoch.min(), kernels.epoch.max()})
    kernels = kernels[kernels.epoch.isin(epochs)].sort_values(["stage", "channel", "epoch"])
    columns = kernels.groupby("stage").size().max()
    reach = cells_to_show(np.abs(one) > VISIBLE * np.abs(one).max() for one in kernels["values"])
    width = theme.TWO_COLUMNS if columns > 3 else theme.ONE_COLUMN
    figure = Figure(figsize=(width, 0.6 + 1.25 * len(cells)))
    figure.set_layout_engine("constrained", w_pad=0.02, h_pad=0.02)
    panels = figure.subplots(len(cells), columns, squeeze=False)
    for axes in panels.flat[:]:
        axes.set_visible(False)
    for row, (stage, cell) in zip(panels, cells.items(), strict=True):
        for axes, one in zip(row, kernels[kernels.stage == stage].itertuples(), strict=False):
            axes.set_visible(True)
            limit = float(np.abs(one.values).max())
            look = {"vmin": -limit or -1, "vmax": limit or 1, "cmap": COLOUR_MAP}
            kernel_map(axes, one.values, reach, cell, labelled=axes is row[0], **look)
            axes.text(0.04, 0.04, f"{limit:.2g}", transform=axes.transAxes, fontsize=6, color=theme.GREY)
            axes.set_title(f"ch. {one.channel}, {epoch_title(frames, model, one.epoch)}", fontsize=7, pad=2)
    label_stages(figure, panels[:, 0], cells)
    scale = matplotlib.cm.ScalarMappable(Normalize(-1, 1), COLOUR_MAP)
    bar = figure.colorbar(scale, ax=panels, aspect=40, pad=0.01, label="value, relative to the largest in the kernel")
    bar.outline.set_visible(False)  # type: ignore[operator]
    return figure
