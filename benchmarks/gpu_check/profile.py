"""Where the time of a step goes that misses its goal, and the bounds that no faster kernel would pass.

A bound is the larger of two times: of moving its bytes at the rate of a copy, and of its operations at the rate of a
matrix product in its precision, both measured by the part `device`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

import dcls
from benchmarks.gpu_check.check import Check, LeftOut
from benchmarks.gpu_check.goals import MISSED, verdicts
from harness.base.files import write_text
from harness.config.systems import PAPER
from harness.counting import operations as counts
from harness.report.timing_frames import condition_of
from harness.throughput import breakdown, contenders, rows
from harness.throughput.condition import Condition
from harness.throughput.outcome import attempt

OPERATORS = 12  # of those that take most
ITEM_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


def run(check: Check) -> None:
    """Raises LeftOut where nothing was timed."""
    timings = [one.row for one in verdicts(check.out) if one.met == MISSED and one.row is not None]
    missed = {(one.model, condition_of(one)): one for one in timings}
    choices = rows.read_choices(check.out / "choices.json")
    if not choices:
        raise LeftOut("nothing was timed")
    lines: list[str] = []

    def add(*more: str) -> None:
        print(*more, sep="\n", flush=True)
        lines.extend(more)
        write_text(check.out / "profile.txt", "\n".join(lines) + "\n")

    add("Every convolution of the timed DCLS models: what its way takes, and the bound", "")
    add(*convolutions(choices, rates(check)))
    dcls.use_convolution("measured")
    if not missed:
        check.say("no goal is missed by what was measured")
    for (_, condition), row in missed.items():
        for name in (PAPER[row.model][1], row.model):
            add("", f"{name}, {condition.words} ({row.model} is {row.ratio_to_baseline:.3f} as fast as its baseline)")
            found, reason = attempt(lambda: step(name, condition, check))  # noqa: B023
            add(*(found or [reason]))
    check.say(f"{len(missed)} conditions that miss a goal: profile.txt")


def rates(check: Check) -> tuple[float, dict[str, float]]:
    """Bytes a second, and operations a second by precision. Raises LeftOut where they were not measured."""
    device = check.found().get("device", {})
    if "bytes_per_s" not in device or "operations_per_s" not in device:
        raise LeftOut("the part device did not measure the rates of copies and products")
    return device["bytes_per_s"], device["operations_per_s"]


def convolutions(choices: list[dict[str, Any]], known: tuple[float, dict[str, float]]) -> Iterator[str]:
    """A line for each shape: the way chosen, its milliseconds, those of the fastest way of torch (cuDNN), the bound."""
    yield f"{'ms':>8} {'torch ms':>8} {'bound ms':>8}  by          way, operation, input, model, condition"
    for record in choices:
        for one in record["choices"]:
            taken, torch_ms = one["milliseconds"].get(one["backend"]), fastest_of_torch(one["milliseconds"])
            bound, by = bound_of(*work_of(one), record["precision"], known)
            cells = " ".join("       -" if value is None else f"{value:8.3f}" for value in (taken, torch_ms, bound))
            where = f"{record['backbone']}, {record['mode']}, {record['precision']}, batch {record['batch']}"
            yield f"{cells}  {by:10}  {one['backend']}, {one['operation']}, {tuple(one['input'])}, {where}"


def fastest_of_torch(milliseconds: dict[str, float]) -> float | None:
    return min((value for name, value in milliseconds.items() if name.startswith("torch_")), default=None)


def work_of(one: dict[str, Any]) -> tuple[float, float]:
    """Bytes that a convolution must move, and operations of all products, those with padding included."""
    (n, c, *cells), size, padding = one["input"], one["kernel"][2:], one["padding"]
    outputs = [cell + 2 * pad - side + 1 for cell, pad, side in zip(cells, padding, size, strict=True)]
    elements = n * c * (prod(cells) + prod(outputs)) + c * prod(size)
    return ITEM_BYTES[one["dtype"]] * elements, 2 * n * c * prod(outputs) * prod(size)


def bound_of(
    moved: float, operations: float, precision: str, known: tuple[float, dict[str, float]]
) -> tuple[float | None, str]:
    """Milliseconds, and what bounds: `memory` or `products`; None where the precision's rate is not known."""
    bytes_per_s, by_precision = known
    if precision not in by_precision:
        return None, ""
    times = {"memory": moved / bytes_per_s, "products": operations / by_precision[precision]}
    by = max(times, key=times.__getitem__)
    return 1000 * times[by], by


def step(name: str, condition: Condition, check: Check) -> Iterator[str]:
    """Parts of the model, operators that take most, and the bound of a step; list it within `attempt`."""
    params, model = check.params, check.params.systems[name].model
    contender = contenders.prepare(model, condition, params, check.device)
    contender.step()
    lines = []
    if not condition.compiled:  # a compiled graph has no modules
        parts = breakdown.milliseconds(contender, check.device)
        lines.append(f"parts: {', '.join(f'{part} {taken:.2f} ms' for part, taken in parts.items())}")
        with Traffic() as traffic:
            contender.step()
        passes = 3 if condition.mode == "training" else 1  # forward, and two backward
        operations = 2 * passes * condition.batch * counts.counts(model).macs
        bound, by = bound_of(traffic.moved, operations, condition.precision, rates(check))
        said = "not known" if bound is None else f"{bound:.2f} ms by {by}"
        lines.append(
            f"bound of the step, operator by operator: {said} "
            f"({traffic.moved / 1e9:.2f} GB moved, {operations / 1e12:.2f} T operations)"
        )
    return iter([*lines, *operators(contender.step, check)])


def operators(work: Callable[[], object], check: Check) -> list[str]:
    """Kernels of a GPU, or operators of a CPU, that take most."""
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if check.on_gpu else [])]
    with profile(activities=activities) as profiled:
        work()
        if check.on_gpu:
            torch.cuda.synchronize(check.device)
    key = "self_device_time_total" if check.on_gpu else "self_cpu_time_total"
    events = sorted(profiled.key_averages(), key=lambda event: -getattr(event, key))
    total = sum(getattr(event, key) for event in events) or 1.0
    return [f"  {getattr(one, key) / total:6.1%} {one.count:5d} x {one.key[:150]}" for one in events[:OPERATORS]]


class Traffic(TorchDispatchMode):
    """Bytes of all tensors that operators take and give, in `moved`; views move none."""

    def __init__(self) -> None:
        super().__init__()
        self.moved = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not any(one.alias_info and not one.alias_info.is_write for one in func._schema.returns):
            tensors = (one for one in tree_iter((args, kwargs, result)) if isinstance(one, torch.Tensor))
            self.moved += sum(one.numel() * one.element_size() for one in tensors)
        return result
