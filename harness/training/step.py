"""One optimizer step over all processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.nn.parallel import DistributedDataParallel

from dcls import clamp_positions
from harness.frontend import FrontEnd
from harness.params import Params
from harness.processes import World
from harness.training import batch_norm, batches, precision, recipe
from harness.training.resume import Trainee


@dataclass(frozen=True)
class Run:
    """What a training run works on. `forward` is the model as it is called: shared between processes, compiled."""

    params: Params
    name: str
    seed: int
    trainee: Trainee
    forward: Any
    front_end: FrontEnd
    world: World

    @property
    def title(self) -> str:
        return f"{self.name}-{self.seed}"


def share(model: nn.Module, compiled: bool, world: World) -> Any:
    """`model` so that its gradients become the mean over processes; buffers are left to `batch_norm.settle`."""
    if world.size > 1:
        ids = [world.device.index] if world.device.type == "cuda" else None
        model = DistributedDataParallel(model, device_ids=ids, broadcast_buffers=False, gradient_as_bucket_view=True)
    return torch.compile(model) if compiled else model


def take(
    run: Run, pieces: Iterator[batches.Piece], division: batches.Division, epoch: int, rate: float, wish: bool
) -> tuple[list[float], bool]:
    """A step at a learning rate: the losses of all its micro-batches by number, and whether any process has a wish.

    Where a loss is not finite, the weights stay as they were.
    """
    trainee, world, train = run.trainee, run.world, run.params.train
    recipe.set_learning_rate(trainee.optimizer, rate)
    trainee.optimizer.zero_grad(set_to_none=True)
    before = batch_norm.statistics(trainee.model) if world.size > 1 else []
    losses: list[Tensor] = []
    for part in range(division.accumulation):
        last = part == division.accumulation - 1
        with nullcontext() if last or world.size == 1 else run.forward.no_sync():
            log_mel, targets = batches.prepare(train, next(pieces), (run.seed, epoch), run.front_end)
            with precision.autocast(train.precision, world.device):
                logits = run.forward(log_mel)
            loss = binary_cross_entropy_with_logits(logits.float(), targets)
            trainee.scaler.scale(loss / division.accumulation).backward()
        losses.append(loss.detach())
    flag = torch.tensor(float(wish), device=world.device)
    gathered = world.gather(torch.stack([*losses, flag]))
    by_number, wished = gathered[:, :-1].flatten(), bool(gathered[:, -1].any())
    if by_number.isfinite().all():
        trainee.scaler.step(trainee.optimizer)
        trainee.scaler.update()
        clamp_positions(trainee.model)
        batch_norm.settle(trainee.model, before, division, world)
        if trainee.average is not None:
            trainee.average.update_parameters(trainee.model)  # type: ignore[operator]
    return by_number.tolist(), wished
