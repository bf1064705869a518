"""The throughput stage on models that are small enough to be timed in a test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

import dcls
from harness.config.params import Params
from harness.config.systems import Model
from harness.counting import operations as counts
from harness.models import build as models
from harness.throughput.condition import Condition
from harness.throughput.machine import Machine, this_machine
from harness.throughput.pairs import Pair, pairs

SMALL = {"scale": "reduced", "depths": (1, 1, 1, 1), "widths": (8, 16, 32, 64)}
WHOLE = models.full_size
DCLS, BASELINE = "fastvit_dcls_audio_sa24", "fastvit_audio_sa24"


def tiny_size(model: Model, **changes: Any) -> Model:
    """In place of `models.full_size`."""
    return WHOLE(model).model_copy(update=SMALL | changes)


def pair_of(params: Params, name: str = DCLS) -> Pair:
    return next(one for one in pairs(params) if one.name == name)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Reduced models in place of the full-size ones."""
    monkeypatch.setattr(models, "full_size", tiny_size)
    counts.counts.cache_clear()
    dcls.use_convolution("measured")  # as the stage does
    yield
    dcls.use_convolution("rule")
    counts.counts.cache_clear()


@pytest.fixture
def quick_params(params: Params) -> Params:
    timed = params.throughput.model_copy(update={"inference_batches": (1, 2), "training_batches": (1,), "seconds": 0.0})
    return params.model_copy(update={"throughput": timed})


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setattr("harness.throughput.machine.default_device", lambda: torch.device("cpu"))
    return this_machine()


def condition(mode: str = "inference", batch: int = 1, **more: object) -> Condition:
    plain = {"precision": "float32", "compiled": False, "channels_last": True, "fused": False}
    return Condition("Abacus, 2 cores", mode, batch=batch, **(plain | more))  # type: ignore[arg-type]
