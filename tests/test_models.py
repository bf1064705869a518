"""The six models against the published implementation's parameter counts, state dicts and logits."""

from __future__ import annotations

import json
import zlib

import numpy as np
import pytest
import torch
from timm.models import convnext, fastvit, metaformer

from benchmarks.published import with_published_layers
from harness.config.params import Params
from harness.config.systems import PAPER
from harness.counting.operations import full_size_of
from harness.counting.parameters import counts
from harness.models.build import build_model, is_replaced, parameter_count
from tests.conftest import DATA, FULL_SIZE, MODELS

COUNTS = {  # trainable parameters with 527 and with 1000 classes
    "convformer_audio_s18": (25_797_847, 26_767_024),
    "convformer_dcls_audio_s18": (25_781_207, 26_750_384),
    "fastvit_audio_sa24": (21_064_015, 21_548_840),
    "fastvit_dcls_audio_sa24": (21_016_655, 21_501_480),
    "convnext_audio_tiny": (28_223_855, 28_587_592),
    "convnext_dcls_audio_tiny": (28_221_263, 28_585_000),
}
LAYOUTS = json.loads((DATA / "state_dicts.json").read_text())
FILTERS = {
    "convnext": convnext.checkpoint_filter_fn,
    "convformer": metaformer.checkpoint_filter_fn,
    "fastvit": fastvit.checkpoint_filter_fn,
}


@pytest.mark.parametrize("name", MODELS)
def test_parameter_counts_are_the_published_ones(name: str) -> None:
    counts = tuple(parameter_count(build_model(FULL_SIZE[name], classes)) for classes in (527, 1000))
    assert counts == COUNTS[name]


def test_the_parts_of_the_count_are_the_models() -> None:
    """Head by the formula; kernels, positions and spreads: 49 or 26 a channel and layer, 52 a stage's."""
    found = {name: counts(FULL_SIZE[name]) for name in MODELS}
    for name, counted in found.items():
        assert tuple(counted["classes"][classes]["total"] for classes in ("527", "1000")) == COUNTS[name]
        for classes, one in counted["classes"].items():
            assert one["head"] == counted["features"] * int(classes) + int(classes)
        same = found[name.replace("_dcls", "")]
        assert counted["backbone"] == same["backbone"] and counted["features"] == same["features"]
        if "_dcls_" in name:
            assert counted["kernels"] * 49 == same["kernels"] * 26
            assert counted["positions"] == counted["spreads"] and counted["positions"] % 52 == 0
        else:
            assert counted["positions"] == counted["spreads"] == 0
    assert found["convnext_dcls_audio_tiny"]["positions"] == 2 * 26 * (96 + 192 + 384 + 768)


@pytest.mark.parametrize("name", [name for name in MODELS if not PAPER[name][1]])
def test_a_dense_kernel_takes_the_place_of_those_that_dcls_replaces(name: str, params: Params) -> None:
    """Of the same maps: 529 weights in place of 49, and nothing else but where FastViT folds more into a kernel."""
    plain, dense = FULL_SIZE[name], FULL_SIZE[name].model_copy(update={"kernel_size": 23})
    counted = {settings.kernel_size: counts(settings) for settings in (plain, dense)}
    assert counted[23]["kernels"] * 49 == counted[7]["kernels"] * 529 and counted[23]["convolution"] == "23x23"
    assert counted[23]["features"] == counted[7]["features"]
    small = params.systems[name].model.model_copy(update={"kernel_size": 23})
    model, replaced = build_model(small, 5).eval(), 0
    for layer, module in model.named_modules():
        assert not is_replaced(layer, module), layer
        replaced += is_replaced(layer, module, 23)
    published = build_model(params.systems[name].model, 5)
    assert replaced == sum(is_replaced(*one) for one in published.named_modules()) > 0
    with torch.inference_mode():
        assert model(torch.randn(2, 1, 128, 128)).shape == (2, 5)


@pytest.mark.parametrize("name", [name for name in MODELS if PAPER[name][1]])
def test_what_is_set_of_positions_changes_their_start_and_learning_alone(name: str, params: Params) -> None:
    """`position_std` scales the same draws; fixed spacings start as learned ones do, and count as part of the model."""
    built = {}
    for std, rate in ((0.5, 5.0), (4.0, 5.0), (0.5, 0.0)):
        settings = params.systems[name].model
        assert settings.dcls
        dcls = settings.dcls.model_copy(update={"position_std": std, "position_rate": rate})
        torch.manual_seed(0)
        built[std, rate] = build_model(settings.model_copy(update={"dcls": dcls}), 5)
        counted = counts(full_size_of(FULL_SIZE[name].model_copy(update={"dcls": dcls})))
        assert counted["classes"]["1000"]["total"] == COUNTS[name][1] and counted["positions"] > 0
    paper, spread, fixed = (dict(model.named_parameters()) for model in built.values())
    for key, start in paper.items():
        is_position = key.endswith((".P", ".SIG"))
        assert torch.equal(fixed[key], start) and fixed[key].requires_grad != is_position
        assert torch.equal(spread[key], 8 * start if key.endswith(".P") else start) and spread[key].requires_grad


@pytest.mark.parametrize("name", MODELS)
def test_published_layout_loads_and_gives_the_published_logits(name: str) -> None:
    model = build_model(FULL_SIZE[name], 527).eval()
    filtered = FILTERS[PAPER[name][0]](_published_state(LAYOUTS[name]), model)
    model.load_state_dict(filtered, strict=True)
    inputs = np.random.RandomState(0).standard_normal((2, 1, 128, 1001)).astype(np.float32)
    with torch.inference_mode():
        logits = model(torch.from_numpy(inputs)).numpy()
        exact = model.double()(torch.from_numpy(inputs).double()).numpy()
    published = np.load(DATA / "logits.npz")[name]
    # The fill rule makes this model ill-conditioned, clip 0 by far: in float32 the published package's own layers miss
    # its published logits by 1.2e-4 there; in float64 they agree with ours to 1e-12 (next test).
    shaky = name == "fastvit_dcls_audio_sa24"
    clips = slice(1, 2) if shaky else slice(None)
    # what float32 rounds away differs with the processor and its threads; float64 is the same everywhere
    assert np.linalg.norm(exact[clips] - published[clips]) / np.linalg.norm(published[clips]) < 1e-4
    assert np.linalg.norm(logits[clips] - exact[clips]) / np.linalg.norm(exact[clips]) < (3e-4 if shaky else 2e-5)


def test_fastvit_with_the_published_packages_layers_gives_the_same_logits_in_float64() -> None:
    name = "fastvit_dcls_audio_sa24"
    model = build_model(FULL_SIZE[name], 527).eval()
    model.load_state_dict(FILTERS["fastvit"](_published_state(LAYOUTS[name]), model))
    model = model.double()
    inputs = torch.from_numpy(np.random.RandomState(0).standard_normal((1, 1, 128, 1001)))
    with torch.inference_mode():
        ours = model(inputs)
        published = with_published_layers(model)(inputs)
    assert (ours - published).norm() / published.norm() < 1e-9


def _published_state(layout: dict[str, dict]) -> dict[str, torch.Tensor]:
    """The fill rule of tests/data/reference.md."""
    state: dict[str, torch.Tensor] = {}
    for key, entry in layout.items():
        if "tied_to" not in entry:
            state[key] = _fill(key, entry["shape"])
    return state | {key: state[entry["tied_to"]] for key, entry in layout.items() if "tied_to" in entry}


def _fill(key: str, shape: list[int]) -> torch.Tensor:
    last = key.rpartition(".")[2]
    if last == "num_batches_tracked":
        return torch.tensor(0)
    random = np.random.RandomState(zlib.crc32(key.encode()) & 0xFFFFFFFF)
    z = random.standard_normal(int(np.prod(shape))).astype(np.float32).reshape(shape)
    if last == "running_var":
        z = 1 + 0.1 * np.abs(z)
    elif last == "P":
        z = np.clip(4 * z, -11, 11)
    elif last == "SIG":
        z = 0.23 + 0.1 * z
    elif last == "running_mean" or (last == "bias" and z.ndim == 1):
        z = 0.1 * z
    elif last in ("gamma", "layer_scale", "layer_scale_1", "layer_scale_2", "scale"):
        z = 0.5 + 0.1 * z
    elif z.ndim == 1:
        z = 1 + 0.1 * z
    else:
        z = z / np.sqrt(np.prod(shape[1:]))
    return torch.from_numpy(np.asarray(z, dtype=np.float32))
