"""Where the elements of the DCLS kernels are, recorded as training goes on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from dcls import DclsNd
from harness.base.files import write_atomic, write_csv
from harness.config.systems import Dcls
from harness.records.schemas import KERNELS, POSITION_DENSITY, POSITIONS, TRAJECTORIES
from harness.training import kernel_tables as tables


def recorded_at(epoch: int, last: int) -> bool:
    """Epochs 0 (before training), 1, 2, 4, 8, ... and the last."""
    return epoch in (0, last) or epoch & (epoch - 1) == 0


def snapshot(model: nn.Module, epoch: int) -> dict[str, Tensor]:
    """Copies of every P, SIG and weight, as `epoch|first layer's name|P` (or SIG, weight).

    P and SIG are float32 (dimensions, channels, 1, elements); layers of a stage share them, so each stands once, under
    the first layer that has it. The weights of a stage's layers are stacked: (layers, channels, 1, elements).
    `gradient` is the root mean square of P's gradient in the epoch's last step.
    Contiguous, as those read from a checkpoint are: sums over another layout round differently.
    """
    stages: dict[nn.Parameter, tuple[str, list[DclsNd]]] = {}
    for name, module in model.named_modules():
        if isinstance(module, DclsNd):
            stages.setdefault(module.P, (name, []))[1].append(module)
    recorded = {}
    for name, layers in stages.values():
        recorded[f"{epoch}|{name}|P"] = _copy(layers[0].P)
        if layers[0].SIG is not None:
            recorded[f"{epoch}|{name}|SIG"] = _copy(layers[0].SIG)
        if layers[0].P.grad is not None:  # none before the first step, nor where spacings are fixed
            recorded[f"{epoch}|{name}|gradient"] = layers[0].P.grad.detach().float().square().mean().sqrt().cpu()
        recorded[f"{epoch}|{name}|weight"] = torch.stack([_copy(layer.weight) for layer in layers])
    return recorded


def write_positions(recorded: dict[str, Tensor], dcls: Dcls | None, full: Path, result: Path) -> None:
    """All values (npz), and into the folder `result` the small tables that the figures are drawn from.

    These are positions.csv, position_density.csv, trajectories.csv and kernels.csv, which `kernel_tables` explains.
    Models without DCLS: empty tables.
    """
    arrays = {key: tensor.numpy() for key, tensor in recorded.items()}
    write_atomic(full, lambda file: np.savez_compressed(file, allow_pickle=False, **arrays))
    stages = tables.recorded_stages(recorded, dcls) if dcls else []
    write_csv(result / "positions.csv", POSITIONS, tables.summary(stages))
    write_csv(result / "position_density.csv", POSITION_DENSITY, tables.density(stages))
    write_csv(result / "trajectories.csv", TRAJECTORIES, tables.trajectories(stages))
    write_csv(result / "kernels.csv", KERNELS, tables.kernels(stages))


def _copy(parameter: Tensor) -> Tensor:
    return parameter.detach().cpu().clone(memory_format=torch.contiguous_format)
