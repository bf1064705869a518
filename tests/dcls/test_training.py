"""What a training loop needs of DCLS layers: clamped positions, parameter groups, statistics."""

import copy

import pytest
import torch

import dcls


def test_clamp_positions(small):
    model = copy.deepcopy(small)
    replaced = dcls.replace_depthwise(model, 5, (9, 5))
    with torch.no_grad():
        for layer in replaced.values():
            layer.P.mul_(100)
    dcls.clamp_positions(model)
    for layer in replaced.values():
        assert layer.P[0].abs().max() == 4
        assert layer.P[1].abs().max() == 2


@pytest.mark.parametrize("rate", [None, 20, 0])
def test_parameter_groups(small, rate):
    model = copy.deepcopy(small)
    replaced = dcls.replace_depthwise(model, 5, 9)
    replaced["4"].weight.requires_grad_(False)
    groups = dcls.parameter_groups(model, 1e-3, 0.05, **({} if rate is None else {"position_rate": rate}))
    of_positions = 1e-3 * (5 if rate is None else rate)
    assert [(group["lr"], group["weight_decay"]) for group in groups] == [
        (1e-3, 0.05),
        (1e-3, 0.0),
        (of_positions, 0.0),
    ]
    ids = [{id(parameter) for parameter in group["params"]} for group in groups]
    assert sum(map(len, ids)) == len(list(model.parameters())) - 1
    assert ids[2] == {id(p) for layer in replaced.values() for p in (layer.P, layer.SIG)}
    assert id(replaced["1"].weight) in ids[0]
    assert id(replaced["1"].bias) in ids[1]
    assert id(model[2].weight) in ids[1]
    before = copy.deepcopy(model)
    model(torch.randn(2, 1, 20, 19)).square().sum().backward()
    torch.optim.AdamW(groups).step()
    for layer, old in zip(replaced.values(), map(before.get_submodule, replaced), strict=True):
        assert torch.equal(layer.P, old.P) == torch.equal(layer.SIG, old.SIG) == (rate == 0)  # 0: they stay


def test_position_statistics(small):
    model = copy.deepcopy(small)
    replaced = dcls.replace_depthwise(model, 5, (9, 5))
    with torch.no_grad():
        replaced["1"].P[0].fill_(4.0)
        replaced["1"].P[1].fill_(-1.5)
        replaced["1"].SIG.fill_(-0.5)
    rows = dcls.position_statistics(model)
    assert len(rows) == 8
    first, second = rows[:2]
    assert (first["layer"], first["index"], first["axis"]) == ("1", 0, 1)
    assert (first["position_mean"], first["position_std"], first["at_border"]) == (4.0, 0.0, 1.0)
    assert (second["position_min"], second["at_border"]) == (-1.5, 0.0)
    assert first["spread_mean"] == pytest.approx(0.77)
