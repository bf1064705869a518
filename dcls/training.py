"""For training loops: clamping of positions, parameter groups, statistics."""

from typing import Any

import torch
from torch import nn

from .base import DclsNd
from .elements import MIN_SPREAD, SPREAD_VERSIONS, axis_of

POSITION_RATE = 5  # learning rate of P and SIG over that of all other parameters (arXiv 2309.13972, section 3)


def dcls_layers(model: nn.Module) -> list[tuple[str, DclsNd]]:
    """Names and DCLS layers of a model."""
    return [(name, module) for name, module in model.named_modules() if isinstance(module, DclsNd)]


def clamp_positions(model: nn.Module) -> None:
    """Bring the positions of every DCLS layer of a model back into its kernel; call after each optimizer step.

    Examples
    --------
    >>> import dcls, torch
    >>> layer = dcls.Dcls1d(1, 1, 1, dilated_kernel_size=5)
    >>> _ = layer.P.data.fill_(7.0)
    >>> dcls.clamp_positions(layer)
    >>> layer.P.item()
    2.0
    """
    for _, layer in dcls_layers(model):
        layer.clamp_parameters()


def parameter_groups(
    model: nn.Module, lr: float, weight_decay: float, position_rate: float = POSITION_RATE
) -> list[dict[str, Any]]:
    """Parameter groups for an optimizer: decayed, not decayed, and positions, each only where there are any.

    Positions are P and SIG of the DCLS layers: no decay and ``position_rate`` times the learning rate, five times in
    arXiv 2309.13972, section 3. Not decayed are parameters of one dimension and biases. Parameters that need no
    gradient are left out.

    Examples
    --------
    >>> import dcls, torch
    >>> layer = dcls.Dcls2d(8, 8, 26, dilated_kernel_size=23, padding=11, groups=8)
    >>> groups = dcls.parameter_groups(torch.nn.Sequential(layer), lr=0.25, weight_decay=0.05)
    >>> [(group["lr"], group["weight_decay"], len(group["params"])) for group in groups]
    [(0.25, 0.05, 1), (0.25, 0.0, 1), (1.25, 0.0, 2)]
    """
    learned = {id(p) for _, layer in dcls_layers(model) for p in (layer.P, layer.SIG) if p is not None}
    decayed, plain, positions = [], [], []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if id(parameter) in learned:
            positions.append(parameter)
        elif parameter.ndim <= 1 or name.endswith(".bias"):
            plain.append(parameter)
        else:
            decayed.append(parameter)
    groups = [
        {"params": decayed, "lr": lr, "weight_decay": weight_decay},
        {"params": plain, "lr": lr, "weight_decay": 0.0},
        {"params": positions, "lr": position_rate * lr, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


@torch.no_grad()
def position_statistics(model: nn.Module) -> list[dict[str, Any]]:
    """One row per DCLS layer and index of P, for plots and logs; layers that share positions repeat them.

    layer (name), index (of P), axis (kernel axis, counted in all axes of the kernel that are learned), and in cells:
    position_mean, position_std, position_min, position_max, spread_mean, spread_min, spread_max (0.27 + abs(SIG)
    for gauss, 1 + abs(SIG) for max, 1 for v1 and v0). at_border is the share of elements at or beyond the clamp.
    """
    rows: list[dict[str, Any]] = []
    for name, layer in dcls_layers(model):
        axes = axis_of(layer.version, len(layer.dilated_kernel_size))
        for index, reach in enumerate(layer.reach()):
            position = layer.P[index].float()
            if layer.SIG is None or layer.version not in SPREAD_VERSIONS:
                spread = torch.ones_like(position)
            else:
                spread = layer.SIG[index].float().abs() + (MIN_SPREAD if layer.version == "gauss" else 1)
            rows.append(
                {
                    "layer": name,
                    "index": index,
                    "axis": axes[index],
                    "position_mean": position.mean().item(),
                    "position_std": position.std(correction=0).item(),
                    "position_min": position.min().item(),
                    "position_max": position.max().item(),
                    "at_border": (position.abs() >= reach).float().mean().item(),
                    "spread_mean": spread.mean().item(),
                    "spread_min": spread.min().item(),
                    "spread_max": spread.max().item(),
                }
            )
    return rows
