"""Where the elements of the DCLS kernels are as training goes on, and how far they have moved."""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from harness import paths
from harness.report import style
from harness.report.load import Results, read_numbers

MOST_COLUMNS = 8  # epochs shown; of more, the first and the last ones
CELL = 1.22  # inches, a heat map with its gap
MAPS = "magma_r"  # perceptually uniform, light where elements are few
STAGES = "viridis"


def position_maps(results: Results, model: str) -> Figure | None:
    """Heat maps (a row a stage, a column a recorded epoch) over the mean displacement by epoch, all seeds together.

    Published weights have neither epochs nor a start: one column, and no displacement.
    None where nothing was recorded. Raises UserError where a position file is missing or no position file.
    """
    parameters = results.runs[model][0].training["parameters"]
    size, published = parameters["dcls"]["dilated_kernel_size"], parameters["model"]["start"] == "published"
    shares = _shares(results, model, size)
    if not shares:
        return None
    stages = sorted({stage for _, stage in shares})
    epochs = _shown(sorted({epoch for epoch, _ in shares}))

    # inches, from the top: title, column titles and maps, their axis label, displacement
    left, right, top, gap = 1.05, 1.25, 0.7, 0.75
    lower, foot = (0.0, 0.0) if published else (1.9, 0.6)
    width = max(left + CELL * len(epochs) + right, 7.0)
    height = top + CELL * len(stages) + gap + lower + foot
    figure = Figure(figsize=(width, height))
    many = f", {len(results.seeds)} {results.repeats} together" if len(results.seeds) > 1 else ""
    title = f"{results.published[model].backbone} + DCLS: where the kernel elements are{many}"
    figure.text(left / width, 1 - 0.28 / height, title, fontsize=12)

    seen = [share[share > 0] for share in shares.values()]
    lowest, highest = min(one.min() for one in seen), max(one.max() for one in seen)
    scale = LogNorm(lowest, max(highest, 1.01 * lowest))
    for row, stage in enumerate(stages):
        for column, epoch in enumerate(epochs):
            bottom = height - top - CELL * (row + 1)
            box = ((left + CELL * column) / width, bottom / height, 0.9 * CELL / width, 0.9 * CELL / height)
            axes = figure.add_axes(box)
            _map(axes, shares.get((epoch, stage)), size, scale)
            axes.tick_params(labelleft=column == 0, labelbottom=row == len(stages) - 1)
            if row == 0:
                axes.set_title(f"epoch {epoch}" if epoch else "published" if published else "start", fontsize=11)
            if column == 0:
                axes.set_ylabel(f"stage {stage}", fontsize=11)
    maps_bottom = height - top - CELL * len(stages)
    maps_right = left + CELL * len(epochs) - 0.1 * CELL
    figure.text((left + maps_right) / 2 / width, (maps_bottom - 0.42) / height, "time offset (cells)", ha="center")
    figure.text(
        0.3 / width,
        (maps_bottom + height - top) / 2 / height,
        "frequency offset (cells)",
        va="center",
        ha="center",
        rotation=90,
    )
    bar = figure.add_axes(
        ((maps_right + 0.2) / width, maps_bottom / height, 0.16 / width, (CELL * len(stages) - 0.1 * CELL) / height)
    )
    colours = figure.colorbar(matplotlib.cm.ScalarMappable(scale, MAPS), cax=bar)
    colours.set_label("% of the stage's elements in a cell (log scale)\nwhite: none")
    colours.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    colours.outline.set_visible(False)
    if not published:
        box = (left / width, foot / height, (maps_right - left) / width, lower / height)
        _displacement(figure.add_axes(box), results, model)
    return figure


def _shares(results: Results, model: str, size: int) -> dict[tuple[int, int], np.ndarray]:
    """Percent of a stage's elements in each cell, float64 (size, size) rows along frequency, by (epoch, stage)."""
    counts: dict[tuple[int, int], np.ndarray] = {}
    for seed in results.seeds:
        path = paths.result(results.preset, model, seed) / "position_density.csv"
        for values in read_numbers(path, ("epoch", "stage", "row", "column", "count")):
            epoch, stage, row, column, count = map(int, values)
            cells = counts.setdefault((epoch, stage), np.zeros((size, size)))
            cells[row, column] += count
    return {key: 100 * cells / cells.sum() for key, cells in counts.items()}


def _shown(epochs: list[int]) -> list[int]:
    return epochs if len(epochs) <= MOST_COLUMNS else [epochs[0], *epochs[1 - MOST_COLUMNS :]]


def _map(axes: Axes, shares: np.ndarray | None, size: int, scale: LogNorm) -> None:
    """One heat map; offset 0 is the kernel's centre, frequency upwards, time to the right."""
    half = size // 2
    axes.grid(False)
    axes.spines[["top", "right"]].set_visible(True)
    axes.set_xlim(-half - 0.5, half + 0.5)
    axes.set_ylim(-half - 0.5, half + 0.5)
    tick = half - half % 5 if half >= 5 else half
    axes.set_xticks([-tick, 0, tick])
    axes.set_yticks([-tick, 0, tick])
    axes.tick_params(labelsize=8, length=2)
    if shares is not None:
        edges = (-half - 0.5, half + 0.5, -half - 0.5, half + 0.5)
        shown = np.ma.masked_equal(shares, 0)
        axes.imshow(shown, origin="lower", extent=edges, norm=scale, cmap=MAPS, interpolation="none", aspect="auto")


def _displacement(axes: Axes, results: Results, model: str) -> None:
    """Mean distance from the start by epoch: a thin line a seed, and their mean, for each stage."""
    seeds = []
    for seed in results.seeds:
        path = paths.result(results.preset, model, seed) / "positions.csv"
        rows = read_numbers(path, ("epoch", "stage", "mean_displacement"))
        seeds.append({(int(stage), int(epoch)): moved for epoch, stage, moved in rows})
    shared = set.intersection(*map(set, seeds))
    stages = sorted({stage for stage, _ in shared})
    colours = matplotlib.colormaps[STAGES](np.linspace(0, 0.85, len(stages)))
    for stage, colour in zip(stages, colours, strict=True):
        epochs = sorted(epoch for one, epoch in shared if one == stage)
        means = [float(np.mean([moved[stage, epoch] for moved in seeds])) for epoch in epochs]
        axes.plot(epochs, means, color=colour, marker="o", markersize=4, label=f"stage {stage}")
        if len(seeds) > 1:
            for moved in seeds:
                axes.plot(epochs, [moved[stage, epoch] for epoch in epochs], color=colour, linewidth=0.8, alpha=0.5)
    axes.set_xlabel("epoch")
    axes.set_ylabel("mean distance\nfrom start (cells)")
    axes.set_ylim(bottom=0)
    style.whole_numbers(axes)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
