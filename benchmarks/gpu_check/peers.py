"""DCLS models against the same models with other layers in place of ours: the published package's, and fixed kernels.

The fixed kernels are as large as ours (23x23) and dense: torch's convolution (cuDNN), and RepLKNet's implicit matrix
product where its extension is installed. Those have neither positions to learn nor a kernel to build.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from torch import nn

import dcls
from benchmarks.gpu_check.check import Check, Failed, LeftOut
from harness.base.files import write_csv
from harness.throughput import contenders
from harness.throughput.condition import Condition
from harness.throughput.outcome import attempt
from harness.throughput.rounds import take_turns
from harness.throughput.rows import OK, OUT_OF_MEMORY
from harness.throughput.statistics import median_interval

OURS, PUBLISHED, FIXED, IMPLICIT = "dcls", "published", "torch 23x23", "implicit GEMM 23x23"
COLUMNS = (
    *("model", "device", "mode", "precision", "batch", "layers", "status", "rounds", "seconds"),
    *("dcls_times_as_fast", "dcls_times_as_fast_low", "dcls_times_as_fast_high"),
)
Change = Callable[[nn.Module], nn.Module]


def run(check: Check) -> None:
    """Write a row for each model, condition and kind of layer. Raises LeftOut without the published package."""
    dcls.use_convolution("measured")
    changes, done = others(check), list[dict[str, Any]]()
    for model, condition, names in jobs(check, check.machine().label):
        wanted = {name: changes[name] for name in names if name in changes}
        if not wanted:
            continue
        new = list(compared(model, condition, wanted, check))
        done += new
        write_csv(check.out / "compared.csv", COLUMNS, done)
        check.say(f"{model}, {condition.words}: speed of dcls over {', '.join(map(in_short, new[1:]))}")
    if PUBLISHED not in changes:
        raise LeftOut("package DCLS (dcls 0.1.1) is missing: give the folder of its wheel by --wheels")
    failures = [f"{row['model']}, {row['layers']}: {row['status']}" for row in done if is_failure(row)]
    if failures:
        raise Failed("; ".join(failures))


def is_failure(row: dict[str, Any]) -> bool:
    """Of layers that must run; an extension may lack a precision."""
    return row["status"] not in (OK, OUT_OF_MEMORY) and row["layers"] != IMPLICIT


def in_short(row: dict[str, Any]) -> str:
    said = f"{row['dcls_times_as_fast']:.2f}" if row["dcls_times_as_fast"] else f"({row['status']})"
    return f"{row['layers']} {said}"


def jobs(check: Check, label: str) -> Iterator[tuple[str, Condition, tuple[str, ...]]]:
    """Models, conditions, and what they are compared with: first the published layers in training, which has a goal."""
    training = Condition(label, "training", "float32", False, True, False, check.training_batch)
    largest, *smaller = (replace(training, mode="inference", batch=batch) for batch in check.inference_batches)
    first = [replace(one, precision=way) for one in (training, largest) for way in ("float32", "bf16")]
    rest = [*(replace(one, precision="tf32") for one in (training, largest)), *smaller]
    steps = [(first, (PUBLISHED,)), (first, (FIXED, IMPLICIT)), (rest, (PUBLISHED,))]
    if check.tiny:
        steps = [(first[:1], (PUBLISHED, FIXED)), ([largest], (PUBLISHED, FIXED))]
    for conditions, names in steps:
        yield from ((pair.name, condition, names) for condition in conditions for pair in check.pairs)


def others(check: Check) -> dict[str, Change]:
    """What takes the place of our layers, by name; says what there is not."""
    changes: dict[str, Change] = {FIXED: fixed_by_torch}
    try:
        changes[PUBLISHED] = importlib.import_module("benchmarks.published").with_published_layers
    except ImportError as error:
        check.say(f"the published package is left out ({error})")
    try:
        extension = importlib.import_module("depthwise_conv2d_implicit_gemm")
        changes[IMPLICIT] = partial(fixed_by_extension, extension.DepthWiseConv2dImplicitGEMM)
    except ImportError as error:
        check.say(f"RepLKNet's depthwise kernel is left out ({error})")
    return changes


def fixed_by_torch(model: nn.Module) -> nn.Module:
    def build(channels: int, size: int, bias: bool) -> nn.Module:
        return nn.Conv2d(channels, channels, size, padding=size // 2, groups=channels, bias=bias)

    return with_fixed(model, build)


def fixed_by_extension(layer: Callable[..., nn.Module], model: nn.Module) -> nn.Module:
    return with_fixed(model, lambda channels, size, bias: layer(channels, size, bias=bias))


def with_fixed(model: nn.Module, build: Callable[[int, int, bool], nn.Module]) -> nn.Module:
    """Replace our layers in place by those of the same dense kernel."""
    for path, ours in list(model.named_modules()):
        if isinstance(ours, dcls.Dcls2d):
            layer: Any = build(ours.in_channels, ours.dilated_kernel_size[0], ours.bias is not None).to(ours.weight)
            known = {"weight": ours.kernel()} | ({} if ours.bias is None else {"bias": ours.bias})
            layer.load_state_dict(known)
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
    contender = contenders.prepare(check.params.systems[model].model, condition, check.params, check.device, change)
    contender.step()
    return contender.step


def row_of(model: str, condition: Condition, layers: str, taken: dict[str, np.ndarray], status: str) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(COLUMNS, "") | {"model": model, "layers": layers, "status": status}
    row |= {name: getattr(condition, name) for name in ("device", "mode", "precision", "batch")}
    if layers in taken:
        row |= {"rounds": len(taken[layers]), "seconds": float(np.median(taken[layers]))}
    if layers != OURS and {layers, OURS} <= set(taken):
        row |= dict(zip(COLUMNS[-3:], median_interval(taken[layers] / taken[OURS]), strict=True))
    return row
