"""Where a step's time goes: PyTorch's profiler, its operators sorted into five parts of the model."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from timm.models import fastvit, metaformer
from torch import nn
from torch.profiler import ProfilerActivity, profile, record_function
from tqdm import tqdm

import dcls
from harness.params import Params
from harness.systems import MODELS
from harness.throughput import contenders, rows
from harness.throughput.condition import plain_conditions
from harness.throughput.device import breakdown_file
from harness.throughput.machine import Machine, now
from harness.throughput.outcome import attempt
from harness.throughput.rounds import synchronize

PARTS = ("stem", "depthwise", "pointwise", "attention", "rest")
STEPS = 3  # profiled, after one that warms up; the one in the middle counts
STEP, MARK = "throughput step", "throughput part "
BACKWARD = "autograd::engine::evaluate_function: "


def write_breakdown(params: Params, machine: Machine) -> None:
    """Profile all six models, inference and training, at the smallest batch of each; replace their rows.

    Eager, float32, channels_last. Prints which models do not run on this device.
    """
    batches = (min(params.throughput.inference_batches),), (min(params.throughput.training_batches),)
    os.environ.setdefault("KINETO_LOG_LEVEL", "5")  # else it reports as an error that a machine has no GPU
    jobs = [(name, one) for one in plain_conditions(machine.label, *batches) for name in MODELS]
    for name, condition in tqdm(jobs, desc="breakdown", unit="model", disable=not sys.stderr.isatty()):
        contender, reason = attempt(lambda: contenders.prepare(name, condition, params, machine.device))  # noqa: B023
        parts = None
        if contender is not None:
            parts, reason = attempt(lambda: milliseconds(contender, machine.device))  # noqa: B023
        if parts is None:
            tqdm.write(f"breakdown of {name}, {condition.words}: {reason}")
            continue
        known = rows.key_cells(name, condition, params.dcls)
        known = {key: value for key, value in known.items() if key in rows.BREAKDOWN_KEY}
        made = {key: machine.made_by[key] for key in ("revision", "dirty")} | {"date": now()}
        total = sum(parts.values())
        rows.upsert(
            breakdown_file(machine.label),
            [known | made | {"part": part, "milliseconds": ms, "share": ms / total} for part, ms in parts.items()],
            rows.BREAKDOWN_KEY,
            rows.BREAKDOWN,
        )


def milliseconds(contender: contenders.Contender, device: torch.device) -> dict[str, float]:
    """Milliseconds of each of PARTS in a step, that of STEPS in the middle; together they are its profiled time.

    On a CPU that is its wall time, on a GPU the time of its kernels. A part's time is that of its modules' forward
    passes and of the backward passes of the operators in them; the loss, the optimizer and all else is the rest.
    """
    activities = [ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    contender.step()
    with _marked(contender.model), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the profiler warns of cycles that are not used here
        with profile(activities=activities) as profiler:
            for _ in range(STEPS):
                with record_function(STEP):
                    contender.step()
                    synchronize(device)
    return parts_of(profiler.events() or [], device.type == "cuda")


def parts_of(events: Iterable[Any], on_gpu: bool) -> dict[str, float]:
    """Sort a profile's events into PARTS, in milliseconds of the step that takes neither most nor least.

    An operator of a backward pass carries the sequence number of the operator whose gradient it takes.
    """
    on_cpu = [event for event in events if event.device_type == torch.autograd.DeviceType.CPU]
    on_cpu.sort(key=lambda event: event.time_range.start)
    steps = []
    for step in [event for event in on_cpu if event.name == STEP]:
        here = [one for one in on_cpu if step.time_range.start <= one.time_range.start <= step.time_range.end]
        steps.append(_parts_of_step(step, here, on_gpu))
    return sorted(steps, key=lambda parts: sum(parts.values()))[len(steps) // 2]


def _parts_of_step(step: Any, events: list[Any], on_gpu: bool) -> dict[str, float]:
    def time(event: Any) -> float:
        return (event.device_time_total if on_gpu else event.cpu_time_total) / 1000

    part_of_number = {}
    for event in events:  # of those that share a number the last is the one with a gradient
        if event.name.startswith(MARK):
            part_of_number |= {one.sequence_nr: event.name.removeprefix(MARK) for one in _below(event)}
        elif event.cpu_parent is step and not event.name.startswith(BACKWARD):
            part_of_number[event.sequence_nr] = "rest"
    part_of_number.pop(-1, None)  # of operators without a gradient
    found, total = dict.fromkeys(PARTS, 0.0), time(step)
    for event in events:
        if event.name.startswith(MARK):
            found[event.name.removeprefix(MARK)] += time(event)
        elif event.name.startswith(BACKWARD) and event.cpu_parent in (None, step):
            found[part_of_number.get(event.sequence_nr, "rest")] += time(event)
            if event.cpu_parent is None:  # a backward pass on a GPU has a thread of its own
                total += time(event) if on_gpu else 0.0
    found["rest"] = total - sum(time for part, time in found.items() if part != "rest")
    return found


def _below(event: Any) -> Iterator[Any]:
    for inner in event.cpu_children:
        yield inner
        yield from _below(inner)


@contextmanager
def _marked(model: nn.Module) -> Iterator[None]:
    """While this is open, forward passes of the outermost modules of each part stand in a profile as MARK + part."""
    handles: list[Any] = []
    for module, part in part_modules(model):
        open_now: list[Any] = []

        def enter(*_: Any, mark: str = MARK + part, open_now: list[Any] = open_now) -> None:
            open_now.append(record_function(mark).__enter__())

        def leave(*_: Any, open_now: list[Any] = open_now) -> None:
            open_now.pop().__exit__(None, None, None)

        handles += [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def part_modules(model: nn.Module, name: str = "") -> Iterator[tuple[nn.Module, str]]:
    """(module, part) of the outermost modules that belong to a part; what is in none of them is the rest."""
    for child_name, child in model.named_children():
        path = f"{name}.{child_name}" if name else child_name
        part = _part_of(path, child)
        if part:
            yield child, part
        else:
            yield from part_modules(child, path)


def _part_of(path: str, module: nn.Module) -> str | None:
    if path == "stem":
        return "stem"
    if isinstance(module, fastvit.Attention | metaformer.Attention):
        return "attention"
    if isinstance(module, dcls.DclsNd):
        return "depthwise"
    if isinstance(module, nn.Linear):
        return "pointwise"
    if isinstance(module, nn.Conv2d):
        if max(module.kernel_size) == 1:
            return "pointwise"
        return "depthwise" if module.groups == module.in_channels > 1 else None
    return None
