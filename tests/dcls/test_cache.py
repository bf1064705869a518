"""The cached kernel: computed once, never out of date, never from inside a transform."""

import copy

import pytest
import torch
from torch import nn
from torch._subclasses import FakeTensorMode

from dcls import cache
from tests.dcls.conftest import depthwise, fresh

CHANGES = {
    "optimizer": lambda layer: torch.optim.SGD(layer.parameters(), 0.5).step(),
    "in place": lambda layer: layer.P.data.add_(0.3),
    "replaced data": lambda layer: setattr(layer.weight, "data", layer.weight.data * 2),
    "spread": lambda layer: layer.SIG.data.add_(0.4),
    "state dict": lambda layer: layer.load_state_dict({k: v + 0.2 for k, v in layer.state_dict().items()}),
    "new parameter": lambda layer: setattr(layer, "P", nn.Parameter(layer.P.detach() + 0.4)),
    "clamp": lambda layer: (layer.P.data.mul_(20), layer.clamp_parameters()),
    "dtype": lambda layer: layer.double(),
}


UNSEEN = ("in place", "spread")  # by a version counter, which is what is looked at on a GPU


@pytest.fixture(params=["values", "versions"])
def compared(request, monkeypatch):
    """What of the parameters is compared: their values, as on a CPU, or their versions, as on a GPU."""
    if request.param == "versions":
        monkeypatch.setattr(cache, "is_on_cpu", lambda tensor: False)
    return request.param


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_kernel_is_computed_once_in_evaluation(input, mode, compared, monkeypatch):
    layer = depthwise()
    computed = []
    build = layer._kernel_and_pads
    monkeypatch.setattr(layer, "_kernel_and_pads", lambda *sources: (computed.append(1), build(*sources))[1])
    with mode():
        for _ in range(3):
            layer(input)
    assert len(computed) == 1


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_cached_kernel_follows_its_parameters(input, change, mode, compared):
    layer = depthwise()
    with mode():
        before = layer(input)
        assert torch.equal(layer(input), before)
    layer(input).square().sum().backward()
    with torch.no_grad():
        CHANGES[change](layer)
    if compared == "versions" and change in UNSEEN:
        with mode():
            assert torch.equal(layer(input), before)
        layer.eval()  # clears the cached kernel
    input = input.to(layer.weight.dtype)
    with mode():
        after = layer(input)
    assert not torch.allclose(after, before.to(after.dtype))
    assert torch.allclose(after, fresh(layer, input), atol=1e-6)


def test_cached_kernel_is_not_shared_with_a_copy(input):
    layer = depthwise()
    with torch.no_grad():
        layer(input)
        other = copy.deepcopy(layer)
        other.P.add_(1)
        assert torch.allclose(layer(input), fresh(layer, input), atol=1e-6)
        assert torch.allclose(other(input), fresh(other, input), atol=1e-6)


def test_frozen_layer_after_inference_mode_passes_gradients(input):
    """A kernel cached in inference mode must still serve a backward to the input."""
    layer = depthwise().requires_grad_(False)
    with torch.inference_mode():
        layer(input)
    input.requires_grad_()
    layer(input).sum().backward()
    assert input.grad.abs().sum() > 0


@pytest.mark.parametrize(
    "transform",
    [
        torch.func.grad,
        torch.func.vmap,
        torch.func.functionalize,
        lambda f: lambda x: torch.func.jvp(f, (x,), (x,)),
        lambda f: lambda x: torch.func.vmap(torch.func.grad(f))(x),
    ],
    ids=["grad", "vmap", "functionalize", "jvp", "vmap of grad"],
)
def test_nothing_is_cached_from_inside_a_transform(transform):
    found = []

    def look(x):
        found.append(cache.is_ordinary(x))
        return x.sum()

    x = torch.randn(3, 2)
    transform(look)(x)
    assert found == [False]
    assert cache.is_ordinary(x) and cache.is_ordinary(nn.Parameter(x)) and cache.is_ordinary(x.to("meta"))
    with FakeTensorMode() as mode:
        assert not cache.is_ordinary(mode.from_tensor(x))
