"""DCLS models against the same models with other layers in place of ours: the published package's, and fixed kernels.

The fixed kernels are as large as ours (23x23) and dense: torch's convolution (cuDNN), and RepLKNet's implicit matrix
product where its extension is installed. Those have neither positions to learn nor a kernel to build.
"""

from __future__ import annotations

import csv
import importlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from torch import nn

import dcls
from benchmarks.gpu_check.check import Check, Failed, LeftOut
from harness.files import write_csv
from harness.throughput import contenders
from harness.throughput.condition import Condition
from harness.throughput.outcome import attempt
from harness.throughput.rounds import take_turns
from harness.throughput.rows import OK, OUT_OF_MEMORY
from harness.throughput.statistics import median_interval
from harness.throughput.sweep import PAIRS

OURS, PUBLISHED = "dcls", "published"
COLUMNS = (
    *("model", "device", "mode", "precision", "batch", "layers", "status", "rounds", "seconds"),
    *("dcls_times_as_fast", "dcls_times_as_fast_low", "dcls_times_as_fast_high"),
)
Change = Callable[[nn.Module], nn.Module]


def run(check: Check) -> None:
    """Write a row for each model, condition and kind of layer. Raises LeftOut without the published package."""
    dcls.use_convolution("measured")
    changes, label = others(check), check.machine().label
    done: list[dict[str, Any]] = []
    for model, condition in jobs(check, label):
        for row in compared(model, condition, changes, check):
            done.append(row)
            write_csv(check.out / "compared.csv", COLUMNS, done)
            print(*row.values(), flush=True)
        if condition.mode == "training" or condition.batch == check.inference_batches[0]:
            said = ", ".join(f"{row['layers']} {in_short(row)}" for row in done[-len(changes) :])
            check.say(f"{model}, {condition.words}: dcls is as fast as {said}")
    if PUBLISHED not in changes:
        raise LeftOut("package DCLS (dcls 0.1.1) is missing: give the folder of its wheel by --wheels")
    failures = [f"{row['model']}, {row['layers']}: {row['status']}" for row in done if is_failure(row)]
    if failures:
        raise Failed("; ".join(failures))


def is_failure(row: dict[str, Any]) -> bool:
    return row["status"] not in (OK, OUT_OF_MEMORY) and row["layers"] in (OURS, PUBLISHED)


def in_short(row: dict[str, Any]) -> str:
    return f"x {row['dcls_times_as_fast']:.2f}" if row["dcls_times_as_fast"] else f"({row['status']})"


def jobs(check: Check, label: str) -> Iterator[tuple[str, Condition]]:
    """Training first, which has a goal."""
    plain = Condition(label, "training", "float32", False, True, False, check.training_batch)
    largest, *smaller = (replace(plain, mode="inference", batch=batch) for batch in check.inference_batches)
    for precisions, conditions in ((("float32", "bf16"), (plain, largest)), (("tf32",), (plain, largest))):
        for precision in precisions:
            for condition in conditions:
                yield from ((model, replace(condition, precision=precision)) for model in PAIRS)
    for condition in smaller:
        yield from ((model, condition) for model in PAIRS)


def others(check: Check) -> dict[str, Change]:
    """What takes the place of our layers, by name; says what there is not."""
    changes: dict[str, Change] = {"torch 23x23": fixed_by_torch}
    try:
        changes = {PUBLISHED: importlib.import_module("benchmarks.published").with_published_layers, **changes}
    except ImportError as error:
        check.say(f"the published package is left out ({error})")
    try:
        extension = importlib.import_module("depthwise_conv2d_implicit_gemm")
        changes["implicit GEMM 23x23"] = partial(fixed_by_extension, extension.DepthWiseConv2dImplicitGEMM)
    except ImportError as error:
        check.say(f"RepLKNet's depthwise kernel is left out ({error})")
    return changes


def fixed_by_torch(model: nn.Module) -> nn.Module:
    return with_fixed(model, lambda channels, size: nn.Conv2d(channels, channels, size, 1, size // 2, 1, channels))


def fixed_by_extension(layer: Callable[..., nn.Module], model: nn.Module) -> nn.Module:
    return with_fixed(model, lambda channels, size: layer(channels, size, bias=True))


def with_fixed(model: nn.Module, build: Callable[[int, int], nn.Module]) -> nn.Module:
    """Replace our layers in place by those of the same dense kernel."""
    for path, ours in list(model.named_modules()):
        if isinstance(ours, dcls.Dcls2d):
            layer: Any = build(ours.in_channels, ours.dilated_kernel_size[0]).to(ours.weight)
            layer.load_state_dict({"weight": ours.kernel().detach(), "bias": ours.bias.detach()})
            model.set_submodule(path, layer)
    return model


def compared(model: str, condition: Condition, changes: dict[str, Change], check: Check) -> Iterator[dict[str, Any]]:
    """Time all of them in turn; what fails is a row that says so."""
    steps: dict[str, Callable[[], object]] = {}
    failed: dict[str, str] = {}
    dcls.forget_convolution_choices()
    for name, change in {OURS: lambda built: built, **changes}.items():
        step, reason = attempt(partial(warm, model, condition, change, check))
        if step is None:
            failed[name] = reason
        else:
            steps[name] = step
    taken, dropped = take_turns(steps, check.device, check.params.throughput.seconds)
    failed |= dropped
    for name in (OURS, *changes):
        yield row_of(model, condition, name, taken, failed.get(name, OK))


def warm(model: str, condition: Condition, change: Change, check: Check) -> Callable[[], object]:
    contender = contenders.prepare(model, condition, check.params, check.device, change)
    contender.step()
    return contender.step


def row_of(
    model: str, condition: Condition, layers: str, taken: dict[str, np.ndarray], status: str
) -> dict[str, Any]:
    row = dict.fromkeys(COLUMNS, "") | {"model": model, "layers": layers, "status": status}
    row |= {name: getattr(condition, name) for name in ("device", "mode", "precision", "batch")}
    if layers in taken:
        row |= {"rounds": len(taken[layers]), "seconds": float(np.median(taken[layers]))}
    if layers != OURS and {layers, OURS} <= set(taken):
        row |= dict(zip(COLUMNS[-3:], median_interval(taken[layers] / taken[OURS]), strict=True))
    return row


def read(path: Any) -> list[dict[str, str]]:
    """The rows of compared.csv; none where there is no file."""
    if not path.is_file():
        return []
    with open(path, newline="") as file:
        return list(csv.DictReader(file))
