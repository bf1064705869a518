"""One optimizer step over all processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from dcls import clamp_positions
from harness.models import precision
from harness.training import batch_norm, batches, reading, recipe
from harness.training.run import Run


def optimizer_step(
    run: Run, raw_batches: Iterator[reading.RawBatch], division: batches.Division, epoch: int, rate: float, stop: bool
) -> tuple[list[float], bool]:
    """A step at a learning rate: the losses of all its micro-batches by number, and whether any process is to stop.

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
            log_mel, targets = batches.prepare(train, next(raw_batches), (run.seed, epoch), run.front_end)
            with precision.autocast(train.precision, world.device):
                logits = run.forward(log_mel)
            loss = binary_cross_entropy_with_logits(logits.float(), targets)
            trainee.scaler.scale(loss / division.accumulation).backward()
        losses.append(loss.detach())
    flag = torch.tensor(float(stop), device=world.device)
    gathered = world.gather(torch.stack([*losses, flag]))
    by_number, stops = gathered[:, :-1].flatten(), bool(gathered[:, -1].any())
    if by_number.isfinite().all():
        trainee.scaler.step(trainee.optimizer)
        trainee.scaler.update()
        clamp_positions(trainee.model)
        batch_norm.merge_statistics(trainee.model, before, division, world)
        if trainee.average is not None:
            trainee.average.update_parameters(trainee.model)  # type: ignore[operator]
    return by_number.tolist(), stops
