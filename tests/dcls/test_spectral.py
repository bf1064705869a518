"""Convolution between all channels by Fourier transforms, as networks of delays need it."""

import pytest
import torch
from torch.nn import functional as F

import dcls
from dcls import convolution, spectral

SHAPES = pytest.mark.parametrize(
    ("samples", "inputs", "outputs", "size", "steps", "pad"),
    [
        (16, 40, 48, 25, 124, (0, 0)),
        (16, 48, 40, 24, 100, (12, 11)),
        (20, 33, 35, 9, 61, (8, 0)),
        (40, 64, 20, 30, 30, (29, 3)),
    ],
    ids=str,
)


def tensors(samples, inputs, outputs, size, steps):
    torch.manual_seed(0)
    shapes = ((samples, inputs, steps), (outputs, inputs, size), (outputs,))
    return [torch.randn(shape, requires_grad=True) for shape in shapes]


@SHAPES
def test_values_and_gradients(samples, inputs, outputs, size, steps, pad, monkeypatch):
    monkeypatch.setattr(spectral, "GAIN", 0)
    ours = tensors(samples, inputs, outputs, size, steps)
    exact = [t.detach().double().requires_grad_() for t in ours]
    assert convolution.is_spectral(*ours, (1,), [pad], 1)
    output = convolution.convolve(*ours, (1,), [pad], "zeros", 1)
    expected = F.conv1d(F.pad(exact[0], pad), *exact[1:])
    grad = torch.randn_like(output)
    found = torch.autograd.grad(output, ours, grad)
    for one, other in zip(
        (output, *found), (expected, *torch.autograd.grad(expected, exact, grad.double())), strict=True
    ):
        assert one.shape == other.shape
        assert (one - other).abs().max() <= 3e-6 * other.abs().max()


def test_double_backward(monkeypatch):
    monkeypatch.setattr(spectral, "GAIN", 0)
    results = []
    for dtype in (torch.float32, torch.float64):
        parts = [t.detach().to(dtype).requires_grad_() for t in tensors(4, 6, 5, 9, 20)]
        output = convolution.convolve(*parts, (1,), [(8, 2)], "zeros", 1)
        first = torch.autograd.grad(output.square().sum(), parts[:2], create_graph=True)
        results.append(torch.autograd.grad(sum(g.square().sum() for g in first), parts[:2]))
    for one, other in zip(*results, strict=True):
        assert torch.allclose(one.double(), other, rtol=1e-3, atol=1e-3 * other.abs().max().item())


def layer_of_delays():
    torch.manual_seed(0)
    layer = dcls.Dcls1d(48, 48, 1, dilated_kernel_size=25, causal=True)
    torch.nn.init.uniform_(layer.P, -12, 12)
    return layer, torch.randn(32, 48, 100)


def test_remembered_spectra_follow_the_parameters():
    """In evaluation the spectra of a kernel are computed once, until a parameter or the number of steps changes."""
    layer, input = layer_of_delays()
    for change in (lambda: None, lambda: layer.P.data.add_(0.3), lambda: None, lambda: layer.weight.data.mul_(2)):
        change()
        for steps in (100, 90):
            with torch.no_grad():
                assert convolution.is_spectral(input[..., :steps], layer.kernel(), None, (1,), layer.pads, 1, True)
                output = layer(input[..., :steps])
            expected = F.conv1d(F.pad(input[..., :steps], (24, 0)), layer.kernel(), layer.bias)
            assert torch.allclose(output, expected, atol=1e-5)


def test_a_named_convolution_is_obeyed():
    layer, input = layer_of_delays()
    with torch.no_grad():
        dcls.use_convolution("torch_contiguous")
        expected = F.conv1d(F.pad(input, (24, 0)), layer.kernel(), layer.bias)
        assert torch.equal(layer(input), expected)
        dcls.use_convolution("rule")
        assert not torch.equal(layer(input), expected)


@pytest.mark.parametrize(
    ("samples", "kernel", "length"),
    [(8, (256, 256, 25), 124), (64, (256, 256, 5), 124), (64, (2, 2, 25), 124), (64, (256, 256, 25), 10**6)],
    ids=["few samples", "short", "two channels", "spectra that do not fit"],
)
def test_where_the_direct_sum_stays(samples, kernel, length):
    assert not spectral.is_faster(samples, kernel, length, constant=False)
    assert spectral.is_faster(64, (256, 256, 25), 124, constant=False)
    assert spectral.is_faster(8, (256, 256, 25), 124, constant=True)
