"""Positions that are delays: whole ones for evaluation, causal layers, stepping through time, given parameters."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import dcls


def delays(version="gauss", **options):
    torch.manual_seed(0)
    layer = dcls.Dcls1d(5, 6, 1, dilated_kernel_size=9, version=version, **options)
    nn.init.uniform_(layer.P, -4.4, 4.4)
    return layer, torch.randn(3, 5, 20)


@pytest.mark.parametrize("version", ["gauss", "max", "v1", "v0"])
@pytest.mark.parametrize("size", [9, 8])
def test_whole_positions(version, size):
    """One cell for each element, inside the kernel also where its size is even; then everything as it was."""
    layer = dcls.Dcls1d(5, 6, 1, dilated_kernel_size=size, version=version)
    nn.init.uniform_(layer.P, -6, 6)
    model = nn.Sequential(layer, dcls.Dcls2d(3, 3, 4, dilated_kernel_size=(5, 7), groups=3, centred=True))
    before = copy.deepcopy(model.state_dict())
    kernels = [one.kernel().detach() for one in model]
    with pytest.raises(KeyError), dcls.whole_positions(model):
        assert not torch.equal(model[0].P, before["0.P"])
        assert torch.equal(model[0].P, model[0].P.round())
        assert torch.equal((layer.kernel() != 0).sum(-1), torch.ones(6, 5))
        assert torch.allclose(layer.kernel().sum(-1), layer.weight[..., 0], atol=1e-6)
        raise KeyError
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(torch.equal(one.kernel(), kernel) for one, kernel in zip(model, kernels, strict=True))
    assert layer.version == version


def test_whole_positions_as_the_clients_do(input):
    """Rounded, without spread, in version max: the same values."""
    layer, input = delays()
    twin = copy.deepcopy(layer)
    with torch.no_grad():
        twin.SIG *= 0
        twin.DCK.version = "max"
        twin.P.round_()
        twin.clamp_parameters()
        with dcls.whole_positions(layer):
            assert torch.allclose(layer(input), twin(input), atol=1e-6)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("stride", [1, 2])
def test_fuse_drops_empty_columns(causal, stride):
    """At both ends, where it has padding to take away, or input to crop."""
    layer, input = delays(causal=causal, stride=stride)
    with torch.no_grad():
        layer.P.clamp_(-2.2, 3.4)
        with dcls.whole_positions(layer):
            expected = layer(input)
            fused = dcls.fuse(layer)
        assert torch.allclose(fused(input), expected, atol=1e-6)
    convolution = fused[-1]
    assert type(convolution) is nn.Conv1d
    assert convolution.kernel_size == (6,)
    assert type(dcls.fuse(layer)) is (nn.Sequential if causal else nn.Conv1d)
    with torch.no_grad():
        assert torch.allclose(dcls.fuse(layer)(input), layer(input), atol=1e-6)


@pytest.mark.parametrize("dimensions", [1, 2])
def test_a_causal_layer_sees_no_later_input(dimensions):
    torch.manual_seed(0)
    layer = getattr(dcls, f"Dcls{dimensions}d")(2, 2, 3, dilated_kernel_size=5, causal=True)
    input = torch.randn(1, 2, *[6] * (dimensions - 1), 12)
    later = input.clone()
    later[..., 7:] += 1
    output, other = layer(input), layer(later)
    assert output.shape[-1] == 12
    assert torch.allclose(output[..., :7], other[..., :7], atol=1e-6)
    assert not torch.allclose(output[..., 7], other[..., 7])
    if dimensions == 1:
        assert torch.equal(output, F.conv1d(F.pad(input, (4, 0)), layer.kernel(), layer.bias))


@pytest.mark.parametrize("options", [{"padding": 2}, {"padding": "same"}, {"padding_mode": "circular"}])
def test_causal_needs_no_padding(options):
    with pytest.raises(ValueError, match="causal=True pads the last axis itself"):
        dcls.Dcls1d(2, 2, 3, dilated_kernel_size=5, causal=True, **options)


@pytest.mark.parametrize("learning", [True, False])
@pytest.mark.parametrize("parts", [[1] * 20, [3, 1, 11, 5]])
def test_a_stream_gives_the_same(learning, parts):
    layer, input = delays(causal=True)
    stream = dcls.Stream(layer)
    with torch.set_grad_enabled(learning):
        for _ in range(2):
            output = torch.cat([stream(part) for part in input.split(parts, -1)], -1)
            assert torch.allclose(output, layer(input), atol=1e-6)
            stream.reset()
    if learning:
        output.square().sum().backward()
        grad = layer.P.grad.clone()
        layer.zero_grad()
        layer(input).square().sum().backward()
        assert torch.allclose(grad, layer.P.grad, rtol=1e-4, atol=1e-5)
    for other in (delays()[0], delays(causal=True, stride=2)[0]):
        with pytest.raises(ValueError, match="a stream needs"):
            dcls.Stream(other)


@pytest.mark.parametrize(
    ("layer", "cells"),
    [
        (lambda: dcls.Dcls1d(4, 6, 3, 2, 3, 7, 2, version="max"), (12,)),
        (lambda: dcls.Dcls2d(4, 4, 3, 1, "same", 5, 4, padding_mode="circular"), (7, 8)),
        (lambda: dcls.Dcls2_1d(4, 4, 3, 1, 1, 3, 6, 2, version="v1"), (7, 8)),
    ],
    ids=["1d", "2d", "2_1d"],
)
def test_as_a_function_of_given_parameters(layer, cells):
    layer, input = layer(), torch.randn(2, 4, *cells)
    given = [torch.randn_like(p) for p in (layer.weight, layer.bias, layer.P, layer.P)]
    places = (layer.dilated_kernel_size, layer.stride, layer.padding, layer.groups, layer.padding_mode, layer.version)
    output = dcls.dcls_convolution(input, *given, *places)
    assert torch.allclose(output, layer._conv_forward(input, *given), atol=1e-5)
    with pytest.raises(RuntimeError, match="1 to 3 axes"):
        dcls.dcls_convolution(
            input, torch.ones(4, 4, 1, 1, 1, 1), None, torch.ones(1, 4, 4, 1, 1, 1, 1), None, 3, version="v1"
        )


@pytest.mark.parametrize("share", ["layer", "stage"])
def test_replace_dense_convolutions(share):
    """As in ResNet: a strided stem, dense blocks of equal width, 1x1 layers that stay."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 7, 2, 3, bias=False),
        nn.Conv2d(8, 8, 3, padding=1),
        nn.Conv2d(8, 8, 1),
        nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=2),
        nn.Conv2d(8, 8, 3, padding=1),
        nn.Conv2d(8, 8, 3, padding=1),
    )
    input = torch.randn(2, 3, 20, 22)
    expected = model(input).shape
    replaced = dcls.replace_convolutions(model, 5, 9, share=share, position_std=2.0)
    assert list(replaced) == ["0", "1", "3", "4", "5"]
    assert type(model[2]) is nn.Conv2d
    assert (model[5].P is model[4].P) == (share == "stage")
    assert model[1].P is not model[4].P
    assert model[0].stride == (2, 2)
    output = model(input)
    assert output.shape == expected
    output.square().mean().backward()
    assert all(layer.P.grad.abs().max() > 0 for layer in replaced.values())
    assert torch.allclose(dcls.fuse(model)(input), output, atol=1e-5)
    with pytest.raises(ValueError, match="no convolution to replace"):
        dcls.replace_convolutions(model, 5, 9, where=lambda name, module: False)
