"""Where a step's time goes: PyTorch's profiler, its operators sorted into five parts of the model."""

from __future__ import annotations

import sys
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from timm.models import fastvit, metaformer
from torch import nn
from torch.autograd import DeviceType
from torch.profiler import record_function
from tqdm import tqdm

import dcls
from harness.config.params import Params
from harness.throughput import contenders, rows
from harness.throughput.condition import plain_conditions
from harness.throughput.device import breakdown_file
from harness.throughput.machine import Machine, now
from harness.throughput.outcome import attempt
from harness.throughput.pairs import architectures
from harness.throughput.profiler import recorded
from harness.throughput.rounds import synchronize

PARTS = ("stem", "depthwise", "pointwise", "attention", "rest")
STEPS = 3  # profiled, after one that warms up; the one in the middle counts
STEP, MARK = "throughput step", "throughput part "
BACKWARD = "autograd::engine::evaluate_function: "


@dataclass(frozen=True, slots=True)
class Event:
    """What the profiler saw: an operator, a marked span, or a kernel on a GPU; times in nanoseconds.

    `number` is autograd's of the operator, -1 of those without; a kernel is `launched_by` the operator of that
    `correlation`.
    """

    name: str
    start: int
    end: int
    thread: int
    number: int
    correlation: int
    launched_by: int
    on_gpu: bool

    @property
    def milliseconds(self) -> float:
        return (self.end - self.start) / 1e6


def write_breakdown(params: Params, machine: Machine) -> None:
    """Profile every model that is timed, inference and training, at the smallest batch of each; replace their rows.

    Eager, float32, channels_last. Prints which models do not run on this device.
    """
    batches = (min(params.throughput.inference_batches),), (min(params.throughput.training_batches),)
    jobs = [(name, one) for one in plain_conditions(machine.label, *batches) for name in architectures(params)]
    for name, condition in tqdm(jobs, desc="breakdown", unit="model", disable=not sys.stderr.isatty()):
        model = params.systems[name].model
        contender, reason = attempt(partial(contenders.prepare, model, condition, params, machine.device))
        parts = None
        if contender is not None:
            parts, reason = attempt(lambda: milliseconds(contender, machine.device))  # noqa: B023
        if parts is None:
            tqdm.write(f"breakdown of {name}, {condition.words}: {reason}")
            continue
        known = rows.key_cells(model, condition)
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

    def steps() -> None:
        for _ in range(STEPS):
            with record_function(STEP):
                contender.step()
                synchronize(device)

    contender.step()
    with _marked(contender.model):
        events = recorded(steps, device)
    on_gpu = device.type == "cuda"
    return parts_of([_event(one) for one in events if on_gpu or _counts_on_cpu(one)], on_gpu)


def parts_of(events: Sequence[Event], on_gpu: bool) -> dict[str, float]:
    """Sort a profile's events into PARTS, in milliseconds of the step that takes neither most nor least."""
    steps = []
    for step in events:
        if step.name == STEP and not step.on_gpu:
            here = [one for one in events if step.start <= one.start <= step.end]
            steps.append(_parts_of_step(step, sorted(here, key=lambda one: one.start), on_gpu))
    return sorted(steps, key=lambda parts: sum(parts.values()))[len(steps) // 2]


def _parts_of_step(step: Event, events: Sequence[Event], on_gpu: bool) -> dict[str, float]:
    """An operator of a backward pass carries the sequence number of the operator whose gradient it takes."""
    spans = [(one, one.name.removeprefix(MARK)) for one in events if one.name.startswith(MARK)]
    backward = [one for one in events if one.name.startswith(BACKWARD)]
    turn = backward[0].start if backward else step.end
    # of the operators that share a number, the last is the one that has a gradient
    part_of_number = {one.number: _part_at(one, spans) for one in events if one.start < turn and one.number >= 0}
    spans += [(one, part_of_number.get(one.number, "rest")) for one in backward]
    found = dict.fromkeys(PARTS, 0.0)
    if on_gpu:
        launchers = {one.correlation: one for one in events if not one.on_gpu}
        for kernel in events:
            if kernel.on_gpu:
                launcher = launchers.get(kernel.launched_by)
                found[_part_at(launcher, spans) if launcher else "rest"] += kernel.milliseconds
        return found
    for span, part in spans:
        found[part] += span.milliseconds
    found["rest"] += step.milliseconds - sum(found.values())
    return found


def _part_at(event: Event, spans: Sequence[tuple[Event, str]]) -> str:
    """The part of the span that an event of the same thread lies in; spans are sorted and follow one another."""
    place = bisect_right(spans, event.start, key=lambda span: span[0].start)
    if place == 0:
        return "rest"
    span, part = spans[place - 1]
    return part if event.start <= span.end and event.thread == span.thread else "rest"


def _counts_on_cpu(event: Any) -> bool:
    return event.sequence_nr() >= 0 or event.name().startswith((STEP, MARK, BACKWARD))


def _event(event: Any) -> Event:
    return Event(
        name=event.name(),
        start=event.start_ns(),
        end=event.end_ns(),
        thread=event.start_thread_id(),
        number=event.sequence_nr(),
        correlation=event.correlation_id(),
        launched_by=event.linked_correlation_id(),
        on_gpu=event.device_type() != DeviceType.CPU and not event.is_user_annotation(),
    )


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
