"""Optimizer groups, schedule and smoothing against the published ones."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from harness.config.params import Params
from harness.models.build import build_model
from harness.training import recipe
from tests.conftest import DATA, FULL_SIZE, MODELS, SYSTEMS

GROUPS = json.loads((DATA / "param_groups.json").read_text())
SCHEDULE = json.loads((DATA / "schedule.json").read_text())


@pytest.mark.parametrize("name", MODELS)
def test_groups_are_the_published_ones(name: str, params: Params) -> None:
    model = build_model(FULL_SIZE[name], 527)
    optimizer = recipe.build_optimizer(model, SYSTEMS[name], params.train)
    ours = [
        {
            "weight_decay": group["weight_decay"],
            "lr_scale": group["lr_scale"],
            "tensors": len(group["params"]),
            "elements": sum(parameter.numel() for parameter in group["params"]),
        }
        for group in optimizer.param_groups
    ]
    assert ours == GROUPS[name]


def test_schedule_is_the_published_one() -> None:
    given = SCHEDULE["args"]
    rates = recipe.learning_rates(
        given["base"],
        given["final"],
        given["epochs"],
        given["warmup_epochs"] / given["epochs"],
        given["iters_per_epoch"],
    )
    assert rates.shape == (given["epochs"] * given["iters_per_epoch"],)
    for iteration, rate in SCHEDULE["lr_at_iteration"].items():
        assert rates[int(iteration)] == pytest.approx(rate, rel=1e-12, abs=1e-18)


@pytest.mark.parametrize("name", MODELS)
def test_rates_reach_the_groups(name: str, params: Params) -> None:
    model = build_model(params.systems[name].model, 5)
    optimizer = recipe.build_optimizer(model, params.systems[name], params.train)
    assert type(optimizer).__name__.lower() == ("lamb" if name.startswith("convformer") else "adamw")
    recipe.set_learning_rate(optimizer, 0.25)
    expected = [0.25, 0.25, 0.25 * 20] if "dcls" in name else [0.25, 0.25]
    assert [group["lr"] for group in optimizer.param_groups] == expected


@pytest.mark.parametrize("name", [name for name in MODELS if "dcls" in name])
def test_fixed_spacings_are_given_to_no_optimizer(name: str, params: Params) -> None:
    system = params.systems[name]
    assert system.model.dcls
    dcls = system.model.dcls.model_copy(update={"position_rate": 0.0})
    system = system.model_copy(update={"model": system.model.model_copy(update={"dcls": dcls})})
    model = build_model(system.model, 5)
    groups = recipe.build_optimizer(model, system, params.train).param_groups
    assert [group["lr_scale"] for group in groups] == [1.0, 1.0]
    given = {id(parameter) for group in groups for parameter in group["params"]}
    left_out = {key.rpartition(".")[2] for key, one in model.named_parameters() if id(one) not in given}
    assert left_out == {"P", "SIG"}


def test_smoothing_keeps_the_mean_towards_one_over_classes() -> None:
    targets = torch.tensor([[1.0, 0.0, 0.0, 0.0]])
    np.testing.assert_allclose(recipe.smooth(targets, 0.1), [[0.925, 0.025, 0.025, 0.025]], rtol=1e-6)
