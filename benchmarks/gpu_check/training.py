"""Short trainings of reduced models: the same bits twice, float32 near the CPU, 16 bits finite."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from benchmarks.gpu_check.check import Check, Failed
from benchmarks.options_bench import CLASSES, noise
from harness.config.params import Params
from harness.running.processes import World
from harness.throughput.outcome import attempt
from harness.training import batches, reading
from harness.training.run import new_run
from harness.training.step import optimizer_step

BATCH, MICRO_BATCH, SECONDS, RATE = 8, 4, 1.5, 1e-3
NEAR_CPU = 1e-4  # relative, of losses


def run(check: Check) -> None:
    """Raises Failed, after all of it, where something did not hold."""
    problems: list[str] = []
    cpu = World(0, 1, torch.device("cpu"))
    here, steps = World(0, 1, check.device), steps_of(check)
    for model in (pair.name for pair in check.pairs):
        pair, reason = attempt(lambda: [trained(check.params, model, here, steps, "float32") for _ in range(2)])  # noqa: B023
        if pair is None:
            problems.append(f"{model}, float32, deterministic: {reason}")
        else:
            (losses, weights), (again, same) = pair
            equal = losses == again and all(map(torch.equal, weights, same))
            said = f"{model}: float32 twice, deterministic: {'the same bits' if equal else 'NOT the same bits'}"
            report(check, said, equal, problems)
            on_cpu, _ = trained(check.params, model, cpu, steps, "float32")
            apart = float(np.abs(np.array(losses) / np.array(on_cpu) - 1).max())
            said = f"{model}: float32 losses against the CPU's: {apart:.1e} apart, allowed {NEAR_CPU:.0e}"
            report(check, said, apart <= NEAR_CPU, problems)
            check.note(**{model: {"losses": losses, "again": again, "on_cpu": on_cpu}})
        for precision in ("bf16", "fp16", "tf32") if check.on_gpu else ("bf16",):
            one, reason = attempt(lambda: trained(check.params, model, here, steps, precision, False))  # noqa: B023
            finite = one is not None and all(map(math.isfinite, one[0])) and all(w.isfinite().all() for w in one[1])
            words = "losses and weights are finite" if finite else reason or f"NOT finite: {one and one[0]}"
            report(check, f"{model}: {precision}, {steps} steps: {words}", bool(finite), problems)
    if not check.on_gpu:
        check.say("fp16 and tf32 are left out on a CPU")
    if problems:
        raise Failed("; ".join(problems))


def report(check: Check, said: str, good: bool, problems: list[str]) -> None:
    check.say(said)
    if not good:
        problems.append(said)


def steps_of(check: Check) -> int:
    return 3 if check.tiny else 10


def trained(
    params: Params, model: str, world: World, steps: int, precision: str, deterministic: bool = True
) -> tuple[list[float], list[Tensor]]:
    """Losses of all micro-batches, and the weights at the end on the CPU, of a run on noise."""
    changes = {"batch": BATCH, "micro_batch": MICRO_BATCH, "precision": precision, "deterministic": deterministic}
    train = params.train.model_copy(update=changes)
    run, _ = new_run(params.model_copy(update={"train": train}), model, 0, CLASSES, world)
    run.trainee.model.train()
    division = batches.divide(train, steps * BATCH, world.size)
    losses: list[float] = []
    raw_batches = own_raw_batches(run.params, steps, division, world)
    for _ in range(steps):
        losses += optimizer_step(run, raw_batches, division, 0, RATE, False)[0]
    return losses, [tensor.detach().cpu() for tensor in run.trainee.model.state_dict().values()]


def own_raw_batches(params: Params, steps: int, division: batches.Division, world: World) -> Iterator[reading.RawBatch]:
    """The micro-batches of this process."""
    own = set(batches.numbers_of(division, world.rank, 0))
    return (raw for raw in noise(params, steps, SECONDS)[1] if raw.number in own)
