"""Running statistics of batch normalisation, which each process would otherwise keep of its own micro-batches alone."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from harness.running.processes import World
from harness.training.batches import Division


def statistics(model: nn.Module) -> list[Tensor]:
    """Copies of all running means and variances."""
    return [tensor.clone() for _, tensor in _running(model)]


@torch.no_grad()
def merge_statistics(model: nn.Module, before: list[Tensor], division: Division, world: World) -> None:
    """Make every process's statistics those of one process that had taken all micro-batches of the step.

    With momentum m a process that saw n micro-batches has gone from r to (1 - m)^n r + l. One that sees all of them has
    (1 - m)^parts r + the sum over processes of (1 - m)^(micro-batches after its own) l. `before` is `statistics` as it
    was at the start of the step.
    """
    if world.size == 1 or not before:
        return
    after = (world.size - 1 - world.rank) * division.accumulation
    learned = [
        (tensor.double() - keep**division.accumulation * start.double()) * keep**after
        for (keep, tensor), start in zip(_running(model), before, strict=True)
    ]
    totals = world.total(torch.cat([part.flatten() for part in learned])).split([part.numel() for part in learned])
    for (keep, tensor), start, total in zip(_running(model), before, totals, strict=True):
        tensor.copy_(keep**division.parts * start.double() + total.view_as(tensor))
    for layer in _layers(model):
        cast(Tensor, layer.num_batches_tracked).add_((division.parts - division.accumulation) * _passes(layer))


def count_twice(block: nn.Module) -> None:
    """For a block whose forward pass is run twice, so that its statistics move as far as in one pass.

    Moving twice by m' towards the same value is moving once by 1 - (1 - m')^2.
    """
    for layer in _layers(block):
        layer.momentum = 1.0 - math.sqrt(1.0 - (layer.momentum or 0.0))
        layer.passes = 2  # type: ignore[assignment]


def _running(model: nn.Module) -> Iterator[tuple[float, Tensor]]:
    """Each running mean and variance, with the share of it that a micro-batch leaves."""
    for layer in _layers(model):
        for tensor in (layer.running_mean, layer.running_var):
            yield (1.0 - (layer.momentum or 0.0)) ** _passes(layer), cast(Tensor, tensor)


def _passes(layer: _BatchNorm) -> int:
    """How often a forward pass is run for a micro-batch."""
    return int(getattr(layer, "passes", 1))


def _layers(model: nn.Module) -> list[_BatchNorm]:
    return [layer for layer in model.modules() if isinstance(layer, _BatchNorm) and layer.track_running_stats]
