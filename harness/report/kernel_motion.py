"""How the DCLS kernels change as training goes on: displacement, spread, effective support, share at the border."""

from __future__ import annotations

from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from harness.report import recorded, style
from harness.report.load import Results, read_numbers, read_rows

LEVELS = ("q05", "q25", "q50", "q75", "q95")


@dataclass(frozen=True)
class Quantity:
    """A row of panels: `name` as in the columns of positions.csv, `factor` from there to the axis."""

    name: str
    label: str
    factor: float = 1.0
    mean: str = ""  # column of the mean, which older runs have without quantiles
    least: float = 0.0  # where the axis ends at least


QUANTITIES = (
    Quantity("displacement", "distance from\nstart (cells)", mean="mean_displacement"),
    Quantity("spread", "spread |SIG|\n(cells)", mean="mean_spread"),
    Quantity("support", "effective support\n(% of the cells)", 100.0, mean="mean_support"),
    Quantity("border", "elements at the\nborder (%)", 100.0, mean="at_border", least=1.0),
)


def kernel_motion(results: Results, model: str) -> Figure | None:
    """A row a quantity, a column a stage; the median with its bands of quantiles, where they were recorded, else the
    mean; each the mean over seeds.

    None where there is no epoch but one. Raises UserError where positions.csv is missing or no such file.
    """
    columns = available(results, model)
    shown = [quantity for quantity in QUANTITIES if quantity.mean in columns and _has_values(results, model, quantity)]
    rows = _values(results, model, ("mean_displacement",))
    stages, epochs = sorted({stage for stage, _ in rows}), sorted({epoch for _, epoch in rows})
    if len(epochs) < 2:
        return None
    figure = Figure(figsize=(style.DOUBLE, 0.75 + 1.15 * len(shown)), layout="constrained")
    panels = figure.subplots(len(shown), len(stages), squeeze=False, sharex=True, sharey="row")
    with_bands = False
    for row, quantity in enumerate(shown):
        names = tuple(f"{quantity.name}_{level}" for level in LEVELS)
        banded = set(names) <= columns
        with_bands |= banded
        values = _values(results, model, names if banded else (quantity.mean,))
        highest = quantity.factor * max(float(one.max()) for one in values.values())
        for column, stage in enumerate(stages):
            _panel(panels[row, column], np.array([values[stage, epoch] for epoch in epochs]), epochs, quantity)
        panels[row, 0].set_ylabel(quantity.label)
        panels[row, 0].set_ylim(0, max(quantity.least, 1.08 * highest) or None)
    for column, stage in enumerate(stages):
        panels[0, column].set_title(f"stage {stage}")
        panels[-1, column].set_xlabel("epoch")
        style.whole_numbers(panels[-1, column])
    figure.align_ylabels(panels[:, 0])
    figure.legend(handles=_legend(with_bands), loc="outside upper center", ncols=4)
    return figure


def available(results: Results, model: str) -> set[str]:
    """The columns of positions.csv that the runs of all seeds have."""
    found = []
    for seed in results.seeds:
        rows = read_rows(recorded.file_of(results, model, seed, "positions.csv"))
        found.append(set(rows[0]) if rows else set())
    return set.intersection(*found)


def _has_values(results: Results, model: str, quantity: Quantity) -> bool:
    """A spread has none in the versions v0 and v1."""
    rows = read_rows(recorded.file_of(results, model, results.seeds[0], "positions.csv"))
    return all(row[quantity.mean] for row in rows)


def _values(results: Results, model: str, columns: tuple[str, ...]) -> dict[tuple[int, int], np.ndarray]:
    """Mean over seeds of the columns, by (stage, epoch), of what all seeds have."""
    seeds = []
    for seed in results.seeds:
        path = recorded.file_of(results, model, seed, "positions.csv")
        rows = read_numbers(path, ("stage", "epoch", *columns))
        seeds.append({(int(stage), int(epoch)): np.array(values) for stage, epoch, *values in rows})
    shared = set.intersection(*map(set, seeds))
    return {key: np.mean([one[key] for one in seeds], axis=0) for key in sorted(shared)}


def _panel(axes: Axes, values: np.ndarray, epochs: list[int], quantity: Quantity) -> None:
    """`values` are (epochs, 5) of quantiles or (epochs, 1) of a mean."""
    scaled = values.T * quantity.factor
    dots = "o" if len(scaled) == 1 else ""
    if len(scaled) == len(LEVELS):
        axes.fill_between(epochs, scaled[0], scaled[4], color=style.DCLS, alpha=0.18, linewidth=0)
        axes.fill_between(epochs, scaled[1], scaled[3], color=style.DCLS, alpha=0.35, linewidth=0)
    axes.plot(epochs, scaled[len(scaled) // 2], color=style.DCLS, marker=dots, markersize=2.5)


def _legend(with_bands: bool) -> list[Line2D | Patch]:
    handles: list[Line2D | Patch] = []
    if with_bands:
        wide, narrow = (matplotlib.colors.to_rgba(style.DCLS, alpha) for alpha in (0.18, 0.5))
        handles = [
            Line2D([], [], color=style.DCLS, label="median"),
            Patch(color=narrow, label="middle half"),
            Patch(color=wide, label="5% to 95%"),
        ]
    return [
        *handles,
        Line2D([], [], color=style.DCLS, marker="o", markersize=2.5, label="share" if with_bands else "mean"),
    ]
