"""The small tables made of recorded DCLS kernels: summary, density, trajectories of some elements, some dense kernels.

Rows of a kernel run along frequency, columns along time. Tables of a model without DCLS have no rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from dcls import axis_of, dense_kernel
from harness.config.systems import Dcls
from harness.records.schemas import LEVELS

SAMPLED = 24  # elements of a stage whose trajectories are written
SHOWN = 3  # channels of a stage whose dense kernels are written, fewer where kernels are large
MOST_CELLS = 1600  # in the kernels of a stage
FAR = 1.0  # cells: an element farther than this from its start has moved
STEPS = 999  # a cell of a dense kernel is written as a whole number of this fraction of the largest one


@dataclass(frozen=True)
class Stage:
    """The kernels of one stage at one recorded epoch.

    `number` counts from 1, `layer` names its first layer. `positions`, `spread` (none in v0 and v1) and `start`, the
    positions at epoch 0, are (2, channels, 1, elements); `weight` is (layers, channels, 1, elements).
    `gradient` is the root mean square of P's at the epoch's last step; none at epoch 0 and with fixed spacings.
    """

    epoch: int
    number: int
    layer: str
    positions: Tensor
    spread: Tensor | None
    weight: Tensor
    start: Tensor
    gradient: Tensor | None
    dcls: Dcls

    @property
    def offsets(self) -> np.ndarray:
        """Cells from the kernel's centre along frequency and time, float32 (2, channels * elements).

        Which kernel axis an index of P moves along is not the same in all versions.
        """
        axes = axis_of(self.dcls.version, 2)
        return self.positions[[axes.index(0), axes.index(1)]].flatten(1).numpy()

    @property
    def cells(self) -> np.ndarray:
        """Row and column of the cell nearest to each element, int64 (2, channels * elements), 0 at the first cell."""
        side = self.dcls.dilated_kernel_size
        return (self.offsets.round() + side // 2).clip(0, side - 1).astype(np.int64)

    def dense(self, layer: int) -> np.ndarray:
        """Dense kernels of one of the stage's layers, float32 (channels, size, size)."""
        size = (self.dcls.dilated_kernel_size,) * 2
        return dense_kernel(self.weight[layer], self.positions, self.spread, size, self.dcls.version)[:, 0].numpy()


def recorded_stages(recorded: dict[str, Tensor], dcls: Dcls) -> list[Stage]:
    """What `positions.snapshot` gave, in the order recorded."""
    layers = list(dict.fromkeys(key.split("|")[1] for key in recorded))
    return [
        Stage(
            int(epoch),
            layers.index(layer) + 1,
            layer,
            positions,
            recorded.get(f"{epoch}|{layer}|SIG"),
            recorded[f"{epoch}|{layer}|weight"],
            recorded[f"0|{layer}|P"],
            recorded.get(f"{epoch}|{layer}|gradient"),
            dcls,
        )
        for (epoch, layer, kind), positions in ((key.split("|"), tensor) for key, tensor in recorded.items())
        if kind == "P"
    ]


def support(kernels: np.ndarray) -> np.ndarray:
    """Effective support of dense kernels (..., rows, columns): the share of their cells that they use, (...,) in 0..1.

    The participation ratio (sum of |k|)^2 / (cells * sum of k^2): of a kernel that is equally large in m cells and 0
    elsewhere it is m / cells. A kernel of zeros uses none.
    """
    flat = np.abs(kernels.reshape(*kernels.shape[:-2], -1).astype(np.float64))
    squares = flat.shape[-1] * np.square(flat).sum(-1)
    return np.divide(np.square(flat.sum(-1)), squares, out=np.zeros(flat.shape[:-1]), where=squares > 0)


def summary(stages: list[Stage]) -> Iterator[dict[str, Any]]:
    """A row a stage and epoch, means and quantiles in cells.

    Of the displacement: over elements, the distance from where they were at epoch 0. Of the spread: over elements and
    both axes, |SIG|, empty in v0 and v1. Of the support: over the stage's dense kernels, see `support`. `moved` is
    the share of elements more than FAR from where they began, `gradient` as in `Stage`. `at_border` is the share of
    elements whose nearest cell is one of the kernel's outermost, where the clamped ones are, too.
    """
    for stage in stages:
        moved = (stage.positions - stage.start).square().sum(0).sqrt()
        spread = None if stage.spread is None else stage.spread.abs()
        used = np.concatenate([support(stage.dense(layer)) for layer in range(len(stage.weight))])
        cells = stage.cells
        border = ((cells == 0) | (cells == stage.dcls.dilated_kernel_size - 1)).any(0)
        yield {
            "epoch": stage.epoch,
            "stage": stage.number,
            "layer": stage.layer,
            "elements": moved.numel(),
            "mean_displacement": moved.mean().item(),
            "mean_distance_from_centre": stage.positions.square().sum(0).sqrt().mean().item(),
            "mean_spread": "" if spread is None else spread.mean().item(),
            "at_border": float(border.mean()),
            "mean_support": float(used.mean()),
            "moved": float((moved > FAR).float().mean()),
            "gradient": "" if stage.gradient is None else stage.gradient.item(),
            **_quantiles("displacement", moved.numpy()),
            **_quantiles("spread", None if spread is None else spread.numpy()),
            **_quantiles("support", used),
        }


def density(stages: list[Stage]) -> Iterator[tuple[int, int, int, int, int]]:
    """Elements in each cell of the kernel that has some; row and column are 0 at the first cell."""
    for stage in stages:
        side = stage.dcls.dilated_kernel_size
        row, column = stage.cells
        counts = np.bincount(row * side + column)
        for cell in np.flatnonzero(counts).tolist():
            yield stage.epoch, stage.number, cell // side, cell % side, int(counts[cell])


def trajectories(stages: list[Stage]) -> Iterator[tuple[int, int, int, int, float, float]]:
    """Row and column, in cells from the kernel's centre, of a few elements of each stage, the same at all epochs.

    They are drawn evenly from all elements of a stage, and the same in all runs of a model. `element` counts over the
    channels, whose number is given beside it.
    """
    for stage in stages:
        elements = stage.start[0].numel()
        chosen = np.random.default_rng(stage.number).choice(elements, min(SAMPLED, elements), replace=False)
        for element in np.sort(chosen).tolist():
            row, column = (round(float(one), 4) for one in stage.offsets[:, element])
            yield stage.epoch, stage.number, element, element // stage.start.shape[-1], row, column


def kernels(stages: list[Stage]) -> Iterator[tuple[int, int, str, int, float, str]]:
    """The dense kernels of a few channels, evenly spaced, in the first layer of each stage, at the two end epochs.

    `largest` is the largest absolute value in the kernel; `values` are its cells, row by row, each as a whole number of
    1/999 of `largest`, with a space between.
    """
    ends = {stage.epoch for stage in stages if stage.epoch in (stages[0].epoch, stages[-1].epoch)}
    for stage in stages:
        if stage.epoch not in ends:
            continue
        dense = stage.dense(0)
        shown = max(1, min(SHOWN, MOST_CELLS // dense[0].size))
        for channel in range(0, len(dense), -(-len(dense) // shown)):
            largest = float(np.abs(dense[channel]).max())
            steps = np.rint(dense[channel] * (STEPS / largest if largest else 0.0)).astype(int).ravel()
            yield stage.epoch, stage.number, stage.layer, channel, largest, " ".join(map(str, steps.tolist()))


def _quantiles(name: str, values: np.ndarray | None) -> dict[str, float | str]:
    """The quantiles of `values` by column; empty cells where there are none."""
    if values is None:
        return {f"{name}_{level}": "" for level in LEVELS}
    found = np.quantile(values.astype(np.float64), list(LEVELS.values()))
    return {f"{name}_{level}": float(value) for level, value in zip(LEVELS, found, strict=True)}
