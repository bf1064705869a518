"""What is timed: counts by hand, fused models, steps, pairs, and where a step's time goes."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

import dcls
from harness.config.params import Params
from harness.config.systems import PAPER, Model
from harness.counting import operations as counts
from harness.models import build as models
from harness.throughput import breakdown, contenders, gauges, pair, rows
from harness.throughput.breakdown import BACKWARD, MARK, STEP, Event
from harness.throughput.machine import Machine, this_machine
from tests.conftest import FULL_SIZE, MODELS
from tests.test_models import COUNTS
from tests.throughput.conftest import BASELINE, DCLS, condition, pair_of, tiny_size


def by_hand(model: nn.Module, size: int) -> tuple[int, int]:
    """Multiply-accumulates of convolutions and linear layers by their shapes, and those of building dense kernels."""
    found, built, handles = [0], 0, []

    def count(module: Any, inputs: Any, output: torch.Tensor) -> None:
        if isinstance(module, nn.Linear):
            each = module.in_features
        elif isinstance(module, dcls.Dcls2d):
            each = size * size
        else:
            each = module.weight[0].numel()
        found[0] += output.numel() * each

    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | dcls.Dcls2d):
            handles.append(module.register_forward_hook(count))
        if isinstance(module, dcls.Dcls2d):
            built += module.weight.numel() * size * size  # channels x elements x cells
    with torch.no_grad():
        model(torch.zeros(1, *counts.INPUT, device=next(model.parameters()).device))
    for handle in handles:
        handle.remove()
    return found[0], built


def models_of(params: Params) -> tuple[Model, Model]:
    found = pair_of(params)
    return found.model, found.baseline


@pytest.mark.parametrize("name", ["convnext_audio_tiny", "convnext_dcls_audio_tiny"])
def test_full_size_counts_are_those_by_hand(name: str, params: Params) -> None:
    found = counts.counts(FULL_SIZE[name])
    with torch.device("meta"):
        model = models.build_model(FULL_SIZE[name], 527).eval()
    assert (found.macs, found.macs_dense_kernels) == by_hand(model, 23)
    assert (found.parameters[527], found.parameters[1000]) == COUNTS[name]
    assert (found.macs_dense_kernels > 0) == bool(PAPER[name][1])


def test_the_quick_convolution_is_seen_by_the_counter(tiny: None, params: Params) -> None:
    small = tiny_size(FULL_SIZE["convnext_dcls_audio_tiny"])
    model = models.build_model(small, 527).eval()
    contenders.spread_positions(model)  # else the layers leave out empty cells, and cost less
    found = counts.counts(small)
    assert counts.macs(model) == found.macs + found.macs_dense_kernels


@pytest.mark.parametrize("name", MODELS)
def test_fused_models_compute_the_same(tiny: None, name: str, params: Params) -> None:
    torch.manual_seed(0)
    settings = tiny_size(FULL_SIZE[name], layer_scale=1.0)
    model = models.build_model(settings, 527).eval()
    contenders.spread_positions(model)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1), module.running_var.uniform_(0.5, 1.5)
    clips = torch.randn(2, *counts.INPUT)
    with torch.no_grad():
        before = model(clips)
        done = contenders.fuse(settings, model)
        after = model(clips)
    assert (after - before).norm() < 1e-4 * before.norm() and not torch.equal(before, torch.zeros_like(before))
    fastvit = ["timm's reparameterization"] if "fastvit" in name else []
    assert done == (" and ".join([*(["dense kernels"] if bool(PAPER[name][1]) else []), *fastvit]) or "nothing to fuse")
    assert not any(isinstance(module, dcls.DclsNd) for module in model.modules())


def test_positions_lie_all_over_the_kernel(tiny: None, params: Params) -> None:
    model = models.build_model(tiny_size(FULL_SIZE[DCLS]), 527)
    contenders.spread_positions(model)
    for layer in model.modules():
        if isinstance(layer, dcls.DclsNd):
            assert layer.P.abs().max() <= 11 and float(layer.P.detach().std()) == pytest.approx(22 / 12**0.5, rel=0.1)


@pytest.mark.parametrize(("name", "precision"), [(DCLS, "float32"), ("convformer_audio_s18", "bf16")])
def test_a_training_step_trains(tiny: None, params: Params, name: str, precision: str) -> None:
    made = contenders.prepare(
        FULL_SIZE[name], condition("training", 2, precision=precision), params, torch.device("cpu")
    )
    before = [parameter.detach().clone() for parameter in made.model.parameters()]
    made.step()
    moved = [not torch.equal(old, new) for old, new in zip(before, made.model.parameters(), strict=True)]
    assert made.model.training and sum(moved) > 0.8 * len(moved)  # a block that drop path leaves out stands still
    assert all(parameter.dtype == torch.float32 for parameter in made.model.parameters())


@pytest.mark.parametrize(("precision", "dtype"), [("float32", torch.float32), ("bf16", torch.bfloat16)])
def test_an_inference_step_is_in_its_precision(
    params: Params, precision: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    # in 16 bits oneDNN never returns from up to 16 channels of a fused kernel
    monkeypatch.setattr(models, "full_size", partial(tiny_size, widths=(32, 64, 128, 256)))
    made = contenders.prepare(
        FULL_SIZE[DCLS], condition(batch=3, precision=precision, fused=True), params, torch.device("cpu")
    )
    logits: Any = made.step()
    assert logits.shape == (3, 527) and logits.dtype == dtype and logits.is_inference()
    assert not made.model.training and made.fusion == "dense kernels and timm's reparameterization"


def test_a_pair_is_two_rows_with_ratio_noise_and_choices(tiny: None, params: Params, machine: Machine) -> None:
    found = pair.measure(*models_of(params), condition(), params, machine, seconds=0.0)
    baseline, model = found.rows
    assert [one["status"] for one in found.rows] == ["ok", "ok"] and not found.out_of_memory
    assert all(set(one) == set(rows.COLUMNS) for one in found.rows)
    for one in found.rows:
        assert one["rounds"] == 5 and one["throughput_low"] <= one["throughput"] <= one["throughput_high"]
        assert one["latency_p50_ms"] == pytest.approx(1000 / one["throughput"]) and one["latency_p99_ms"] is None
        assert one["no_difference_below"] >= 0 and one["joules_per_clip"] is None
        built = params.systems[BASELINE if one["convolution"] == "7x7" else DCLS].model
        weights = models.build_model(tiny_size(built), 527).parameters()
        assert one["peak_memory_mib"] * 2**20 > sum(4 * weight.numel() for weight in weights)
        assert one["parameters_1000"] > one["parameters_527"] > 0 < one["macs"]
    assert baseline["ratio_to_baseline"] is None and baseline["convolutions"] == ""
    assert model["ratio_to_baseline_low"] <= model["ratio_to_baseline"] <= model["ratio_to_baseline_high"]
    assert "convolution: " in model["convolutions"] and "kernel_gradient" not in model["convolutions"]
    assert len(found.choices[1]) == sum(int(part.split()[-1]) for part in model["convolutions"][13:].split(", "))


def test_peak_memory_is_that_of_all_tensors_at_once(machine: Machine) -> None:
    """Held from before the step, and from within it; what comes after others have gone does not add to it."""
    floats = 2**18  # a MiB of them
    other, before = torch.ones(5 * floats), gauges.memory_in_use(machine.device)
    held = [torch.ones(3 * floats)]

    def step() -> None:
        first, second = held[0][:floats] + 1, held[0][: 2 * floats] + 1
        del first, second
        torch.ones(2 * floats)

    assert gauges.peak_memory(step, machine.device, before) == pytest.approx(3 + 3, abs=0.01)
    held.clear()
    assert gauges.peak_memory(lambda: other + 1, machine.device, before) == pytest.approx(5, abs=0.01)


def test_what_fails_is_a_row_and_the_other_is_timed(
    tiny: None, params: Params, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = models.build_model

    def broken(model: Model, classes: int) -> nn.Module:
        if model.dcls and model.drop_path:  # not where it is counted
            raise ValueError("no such\nkernel")
        return build(model, classes)

    monkeypatch.setattr(models, "build_model", broken)
    baseline, model = pair.measure(*models_of(params), condition(batch=2), params, machine, seconds=0.0).rows
    assert baseline["status"] == "ok" and baseline["throughput"] > 0 and baseline["latency_p50_ms"] is None
    assert model["status"] == "failed: ValueError: no such kernel" and model["throughput"] is None
    assert model["ratio_to_baseline"] is None and model["macs"] > 0


@pytest.mark.parametrize(
    ("name", "mode"), [(DCLS, "inference"), (DCLS, "training"), ("convnext_audio_tiny", "training")]
)
def test_the_parts_of_a_step(tiny: None, params: Params, name: str, mode: str) -> None:
    made = contenders.prepare(FULL_SIZE[name], condition(mode, 2), params, torch.device("cpu"))
    parts = breakdown.milliseconds(made, torch.device("cpu"))
    assert tuple(parts) == breakdown.PARTS and all(time >= 0 for time in parts.values())
    assert min(parts[part] for part in ("stem", "depthwise", "pointwise", "rest")) > 0
    assert (parts["attention"] > 0) == ("fastvit" in name)


def event(name: str, start: int, end: int, **more: Any) -> Event:
    plain = {"thread": 1, "number": -1, "correlation": start, "launched_by": 0, "on_gpu": False}
    return Event(name, start * 10**6, end * 10**6, **(plain | more))


def step_of(shift: int, backward_thread: int) -> list[Event]:
    """20 ms: depthwise 1 to 4, another operator 5 to 6, and their backward passes 8 to 13 and 13 to 14."""
    return [
        event(STEP, shift, shift + 20),
        event(f"{MARK}depthwise", shift + 1, shift + 4),
        event("aten::equal", shift + 1, shift + 2, number=shift + 8),
        event("DepthwiseConvolution", shift + 2, shift + 4, number=shift + 7, correlation=shift + 2),
        event("aten::gelu", shift + 5, shift + 6, number=shift + 8, correlation=shift + 5),
        event(f"{BACKWARD}Gelu", shift + 8, shift + 9, number=shift + 8, thread=backward_thread),
        event(f"{BACKWARD}Depthwise", shift + 9, shift + 14, number=shift + 7, thread=backward_thread),
        event("aten::flip", shift + 10, shift + 11, thread=backward_thread, correlation=shift + 10),
    ]


def test_events_of_a_cpu_are_sorted_by_hand() -> None:
    events = [*step_of(100, 1), event("elsewhere", 130, 131), *step_of(200, 1), *step_of(300, 1)]
    found = breakdown.parts_of(events, on_gpu=False)
    assert found == pytest.approx({"stem": 0, "depthwise": 3 + 5, "pointwise": 0, "attention": 0, "rest": 12})


def test_kernels_of_a_gpu_count_where_they_were_launched() -> None:
    kernels = [
        event("convolution kernel", 105, 108, launched_by=102, on_gpu=True),
        event("gelu kernel", 108, 109, launched_by=105, on_gpu=True),
        event("flip kernel", 112, 116, launched_by=110, on_gpu=True),
        event("memset", 116, 117, launched_by=99, on_gpu=True),
    ]
    found = breakdown.parts_of([*step_of(100, 2), *kernels], on_gpu=True)
    assert found == pytest.approx({"stem": 0, "depthwise": 3 + 4, "pointwise": 0, "attention": 0, "rest": 1 + 1})


@pytest.mark.slow  # a C++ compiler at work
@pytest.mark.parametrize("mode", ["inference", "training"])
def test_compiled_bf16(tiny: None, params: Params, machine: Machine, mode: str) -> None:
    way = condition(mode, 2, precision="bf16", compiled=True, channels_last=False)
    found = pair.measure(*models_of(params), way, params, machine, seconds=0.0)
    assert [one["status"] for one in found.rows] == ["ok", "ok"] and found.choices[1]


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float32", "tf32", "bf16", "fp16"])
@pytest.mark.parametrize("mode", ["inference", "training"])
def test_on_a_gpu(params: Params, mode: str, precision: str) -> None:
    found = pair.measure(
        *models_of(params), condition(mode, 8, precision=precision), params, this_machine(), seconds=0.0
    )
    for one in found.rows:
        assert one["status"] == "ok" and one["driver"] and one["cuda"] and one["peak_memory_mib"] > 80  # the weights
        assert one["joules_per_clip"] is None or one["joules_per_clip"] > 0
    made = contenders.prepare(FULL_SIZE[DCLS], condition(mode, 8, precision=precision), params, torch.device("cuda"))
    parts = breakdown.milliseconds(made, torch.device("cuda"))
    assert min(parts.values()) > 0
