"""Where the elements of the DCLS kernels are, recorded as training goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from dcls import axis_of
from harness.files import write_atomic, write_csv
from harness.params import Dcls

SUMMARY = ("epoch", "stage", "layer", "elements", "mean_displacement", "mean_distance_from_centre", "mean_spread")
DENSITY = ("epoch", "stage", "row", "column", "count")


def recorded_at(epoch: int, last: int) -> bool:
    """Epochs 0 (before training), 1, 2, 4, 8, ... and the last."""
    return epoch in (0, last) or epoch & (epoch - 1) == 0


def snapshot(model: nn.Module, epoch: int) -> dict[str, Tensor]:
    """Copies of every P and SIG, float32 (dimensions, channels, 1, elements), as `epoch|first layer's name|P`.

    Layers of a stage share them, so each stands once, under the first layer that has it. Contiguous, as those read from
    a checkpoint are: sums over another layout round differently.
    """
    return {
        f"{epoch}|{name.rpartition('.')[0]}|{name.rpartition('.')[2]}": parameter.detach()
        .cpu()
        .clone(memory_format=torch.contiguous_format)
        for name, parameter in model.named_parameters()
        if name.rpartition(".")[2] in ("P", "SIG")
    }


def write_positions(recorded: dict[str, Tensor], dcls: Dcls, full: Path, summary: Path, density: Path) -> None:
    """All values (npz), and the two small tables that the figures are drawn from. Models without DCLS: empty tables."""
    arrays = {key: tensor.numpy() for key, tensor in recorded.items()}
    write_atomic(full, lambda file: np.savez_compressed(file, allow_pickle=False, **arrays))
    write_csv(summary, SUMMARY, _summary(recorded))
    write_csv(density, DENSITY, _density(recorded, dcls))


def _stages(recorded: dict[str, Tensor]) -> Iterator[tuple[int, int, str, Tensor, Tensor | None, Tensor]]:
    """(epoch, stage from 1, layer, P, SIG (none in v0 and v1), P at epoch 0) in the order recorded."""
    layers: list[str] = []
    for key, positions in recorded.items():
        epoch, layer, kind = key.split("|")
        if kind != "P":
            continue
        if layer not in layers:
            layers.append(layer)
        start = recorded[f"0|{layer}|P"]
        yield int(epoch), layers.index(layer) + 1, layer, positions, recorded.get(f"{epoch}|{layer}|SIG"), start


def _summary(recorded: dict[str, Tensor]) -> Iterator[tuple[int, int, str, int, float, float, float | str]]:
    for epoch, stage, layer, positions, spread, start in _stages(recorded):
        displacement = (positions - start).square().sum(0).sqrt().mean().item()
        distance = positions.square().sum(0).sqrt().mean().item()
        mean_spread = "" if spread is None else spread.abs().mean().item()
        yield epoch, stage, layer, positions[0].numel(), displacement, distance, mean_spread


def _density(recorded: dict[str, Tensor], dcls: Dcls) -> Iterator[tuple[int, int, int, int, int]]:
    """Elements in each cell of the kernel; rows along frequency, columns along time, 0 at the first cell."""
    side = dcls.dilated_kernel_size
    axes = axis_of(dcls.version, 2)  # which kernel axis an index of P moves along is not the same in all versions
    frequency, time = axes.index(0), axes.index(1)
    for epoch, stage, _, positions, _, _ in _stages(recorded):
        cells = (positions.round() + side // 2).clamp(0, side - 1).to(torch.int64).flatten(1)
        counts = torch.bincount(cells[frequency] * side + cells[time])
        for cell in counts.nonzero().flatten().tolist():
            yield epoch, stage, cell // side, cell % side, int(counts[cell])
