"""Transforms of torch.func, forward mode, both ONNX exporters, fake tensors and LBFGS, as with plain convolutions."""

import logging

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad
from torch.func import functional_call, grad, hessian, jvp, stack_module_state, vmap

import dcls

GROUPS = pytest.mark.parametrize("groups", [1, 4], ids=["dense", "depthwise"])
VERSIONED = pytest.mark.parametrize("version", ["gauss", "max", "v1", "v0"])


def make(groups, version="gauss", seed=0):
    torch.manual_seed(seed)
    layer = dcls.Dcls2d(4, 4, 3, 1, 2, 5, groups, version=version)
    return layer, {name: parameter.detach() for name, parameter in layer.named_parameters()}


def loss_of(layer, parameters, input):
    return functional_call(layer, parameters, (input,)).square().sum()


@GROUPS
@VERSIONED
def test_vmap(groups, version):
    """The gradient of each sample, and an ensemble in one call."""
    layer, parameters = make(groups, version)
    input = torch.randn(3, 4, 7, 6)
    found = vmap(lambda p, x: grad(lambda q: loss_of(layer, q, x[None]))(p), in_dims=(None, 0))(parameters, input)
    for i, sample in enumerate(input):
        layer.zero_grad()
        layer(sample[None]).square().sum().backward()
        for name, parameter in layer.named_parameters():
            assert torch.allclose(found[name][i], parameter.grad, rtol=1e-4, atol=1e-4), name
    models = [make(groups, version, seed)[0] for seed in range(3)]
    stacked, buffers = stack_module_state(models)
    outputs = vmap(lambda p, b: functional_call(layer, (p, b), (input,)))(stacked, buffers)
    for output, model in zip(outputs, models, strict=True):
        assert torch.allclose(output, model(input), atol=1e-5)


@GROUPS
@VERSIONED
def test_forward_mode(groups, version):
    """Along a direction, torch.func.jvp, dual numbers and the gradient agree."""
    layer, parameters = make(groups, version)
    input = torch.randn(3, 4, 7, 6)
    direction = {name: torch.randn_like(p) for name, p in parameters.items()}
    _, found = jvp(lambda p: loss_of(layer, p, input), (parameters,), (direction,))
    layer(input).square().sum().backward()
    expected = sum((p.grad * direction[name]).sum() for name, p in layer.named_parameters())
    assert torch.allclose(found, expected, rtol=1e-3)
    with forward_ad.dual_level():
        duals = {name: forward_ad.make_dual(p, direction[name]) for name, p in parameters.items()}
        assert torch.allclose(forward_ad.unpack_dual(loss_of(layer, duals, input)).tangent, found, rtol=1e-4)


@GROUPS
def test_hessian_of_positions(groups):
    layer, parameters = make(groups)
    input, direction = torch.randn(2, 4, 7, 6), torch.randn_like(layer.P)

    def loss(P):
        return loss_of(layer, {**parameters, "P": P}, input)

    found = hessian(loss)(parameters["P"])
    P = parameters["P"].clone().requires_grad_()
    (first,) = torch.autograd.grad(loss(P), P, create_graph=True)
    (expected,) = torch.autograd.grad((first * direction).sum(), P)
    assert torch.allclose(torch.einsum("abcdefgh,efgh->abcd", found, direction), expected, rtol=1e-3, atol=1e-3)


@GROUPS
@pytest.mark.parametrize("dynamo", [False, True], ids=["older", "newer"])
@pytest.mark.parametrize("version", ["gauss", "v0"])
def test_onnx(groups, version, dynamo, tmp_path):
    """Both exporters, of a layer that is not fused first."""
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    pytest.importorskip("onnxscript", reason="onnxscript is not installed")
    if dynamo and torch.__version__.startswith("2.5."):
        pytest.skip("torch 2.5's newer exporter keeps operators of a library, and cannot translate them")
    layer, _ = make(groups, version)
    input, path = torch.randn(2, 4, 7, 6), tmp_path / "layer.onnx"
    logging.disable(logging.WARNING)
    torch.onnx.export(layer.eval(), (input,), str(path), dynamo=dynamo)
    logging.disable(logging.NOTSET)
    session = onnxruntime.InferenceSession(str(path))
    (output,) = session.run(None, {session.get_inputs()[0].name: input.numpy()})
    assert torch.allclose(torch.from_numpy(output), layer(input), atol=1e-5)


@GROUPS
@pytest.mark.parametrize("inside", [True, False], ids=["made inside", "made before"])
def test_fake_tensors(groups, inside):
    layer = None if inside else make(groups)[0]
    with FakeTensorMode(allow_non_fake_inputs=True):
        layer = layer or make(groups)[0]
        output = layer(torch.randn(3, 4, 7, 6))
        assert output.shape == (3, 4, 7, 6)
        with torch.no_grad():
            assert layer(torch.randn(3, 4, 9, 6)).shape == (3, 4, 9, 6)
        output.sum().backward()
        assert layer.P.grad.shape == layer.P.shape


@GROUPS
def test_lbfgs(groups):
    """An optimizer that evaluates many times a step, at positions that it goes back from."""
    teacher, _ = make(groups, seed=1)
    layer, _ = make(groups)
    input = torch.randn(3, 4, 7, 6)
    with torch.no_grad():
        target = teacher(input)
    optimizer = torch.optim.LBFGS(layer.parameters(), max_iter=15, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(layer(input), target)
        loss.backward()
        return loss

    before = optimizer.step(closure).item()
    assert closure().item() < before / 20
