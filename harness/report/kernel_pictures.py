"""Dense DCLS kernels of a few channels, before and after training."""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from harness.report import recorded, style
from harness.report.load import Results
from harness.report.position_maps import frame

COLOURS = "PuOr"  # diverging, told apart by the colour-blind; white is 0
VISIBLE = 0.01  # of a kernel's largest cell: those that the picture is cut to


def kernel_pictures(results: Results, model: str) -> Figure | None:
    """A row a stage, a pair of columns a channel: the kernel at the first and at the last recorded epoch.

    Each kernel has its own colour scale, symmetrical about 0, whose end is written into it. None where none was
    recorded. Raises UserError where kernels.csv is no such file.
    """
    kernels = recorded.dense_kernels(results, model)
    if not kernels:
        return None
    cells = recorded.cells_of(results, model)
    first, last = kernels[0].epoch, kernels[-1].epoch
    epochs = [first] if first == last else [first, last]
    stages = sorted({kernel.stage for kernel in kernels})
    by_place = {(kernel.epoch, kernel.stage, kernel.channel): kernel.values for kernel in kernels}
    channels = {stage: sorted({one.channel for one in kernels if one.stage == stage}) for stage in stages}
    columns = max(map(len, channels.values())) * len(epochs)
    reach = _reach(kernels)
    figure = Figure(figsize=(style.DOUBLE if columns > 3 else style.SINGLE, 0.6 + 1.25 * len(stages)))
    figure.set_layout_engine("constrained", w_pad=0.02, h_pad=0.02)
    panels = figure.subplots(len(stages), columns, squeeze=False)
    for axes in panels.flat:
        axes.set_visible(False)
    for row, stage in enumerate(stages):
        for place, channel in enumerate(channels[stage]):
            for offset, epoch in enumerate(epochs):
                axes = panels[row, place * len(epochs) + offset]
                axes.set_visible(True)
                _picture(axes, by_place[epoch, stage, channel], cells[stage])
                frame(axes, reach, cells[stage], labelled=place == offset == 0)
                when = f"epoch {epoch}" if epoch else "published" if recorded.is_published(results, model) else "start"
                axes.set_title(f"ch. {channel}, {when}", fontsize=7, pad=2)
        bands, milliseconds = cells[stage]
        panels[row, 0].set_ylabel(f"stage {stage}\n{bands} bands x\n{milliseconds:g} ms a cell", fontsize=7)
    scale = matplotlib.cm.ScalarMappable(Normalize(-1, 1), COLOURS)
    bar = figure.colorbar(scale, ax=panels, aspect=40, pad=0.01, label="value, of the largest in the kernel")
    bar.outline.set_visible(False)  # type: ignore[operator]
    figure.supxlabel("time offset (ms)", fontsize=8)
    figure.supylabel("frequency offset (mel bands)", fontsize=8)
    return figure


def _picture(axes: matplotlib.axes.Axes, values: np.ndarray, cell: tuple[int, float]) -> None:
    limit = float(np.abs(values).max())
    bands, milliseconds = cell
    side = len(values) / 2
    edges = (-side * milliseconds, side * milliseconds, -side * bands, side * bands)
    axes.imshow(values, origin="lower", extent=edges, vmin=-limit or -1, vmax=limit or 1, cmap=COLOURS, aspect="auto")
    axes.text(0.04, 0.04, f"{limit:.2g}", transform=axes.transAxes, fontsize=6, color=style.GREY)


def _reach(kernels: list[recorded.Kernel]) -> int:
    """Cells on each side of the centre that show all which is visible in any of them."""
    half = len(kernels[0].values) // 2
    farthest = 2
    for kernel in kernels:
        seen = np.argwhere(np.abs(kernel.values) > VISIBLE * np.abs(kernel.values).max())
        farthest = max(farthest, int(np.abs(seen - half).max(initial=0)))
    return min(half, farthest + 1)
