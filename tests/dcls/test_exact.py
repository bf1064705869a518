"""Kernels, outputs and gradients against the published package 0.1.1, and against what defines them."""

import inspect
import itertools
import logging

import pytest
import torch
from torch.nn import functional as F

import dcls
from dcls.convolution import DepthwiseConvolution, convolve

published = pytest.importorskip("DCLS.construct.modules", reason="the published package 0.1.1 is not installed")

VERSIONS = ["gauss", "max", "v1", "v0"]
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5}
SIZES = {1: [5, 6], 2: [(5, 5), (5, 7), (4, 6)], 3: [(3, 3, 3), (3, 5, 4)]}
LAYERS = {1: "Dcls1d", 2: "Dcls2d", 3: "Dcls3d"}


@pytest.fixture(autouse=True)
def quiet():
    """The published package warns of a missing CUDA extension on every construction."""
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


def pair(name, *args, dtype=torch.float64, spread=2.0, **kwargs):
    """Our layer and the published one with the same parameters, positions reaching beyond the kernel."""
    torch.manual_seed(0)
    theirs = getattr(published, name)(*args, **kwargs).to(dtype)
    with torch.no_grad():
        theirs.P.normal_(0, spread)
        if theirs.SIG is not None:
            theirs.SIG.normal_(0, 0.5)
    ours = getattr(dcls, name)(*args, **kwargs, dtype=dtype)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def kernel_of(theirs):
    return theirs.DCK(theirs.weight, theirs.P, theirs.SIG)


def close(ours, theirs, tolerance):
    """Largest difference, relative to the largest value."""
    assert ours.shape == theirs.shape
    difference = (ours.double() - theirs.double()).abs().max().item()
    assert difference <= tolerance * max(theirs.abs().max().item(), 1e-30), difference


def compare(ours, theirs, input, tolerance):
    inputs = [input.clone().requires_grad_(), input.clone().requires_grad_()]
    outputs = [ours(inputs[0]), theirs(inputs[1])]
    close(*outputs, tolerance)
    grad = torch.randn_like(outputs[0])
    for output in outputs:
        output.backward(grad)
    close(inputs[0].grad, inputs[1].grad, tolerance)
    for (name, one), (other_name, other) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        assert name == other_name
        close(one.grad, other.grad, tolerance)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize(("n", "size"), [(n, size) for n in SIZES for size in SIZES[n]])
@pytest.mark.parametrize("version", VERSIONS)
def test_kernel_output_gradients(version, n, size, dtype):
    ours, theirs = pair(LAYERS[n], 4, 6, 3, 1, 2, size, 2, version=version, dtype=dtype)
    close(ours.kernel(), kernel_of(theirs), TOLERANCE[dtype])
    compare(ours, theirs, torch.randn(2, 4, *[7, 8, 6][:n], dtype=dtype), TOLERANCE[dtype])


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("stride", "padding", "groups", "bias", "mode"),
    [
        (1, 11, 8, True, "zeros"),
        (2, 3, 8, True, "zeros"),
        ((1, 2), (4, 0), 1, False, "zeros"),
        (1, 5, 8, True, "circular"),
    ],
)
def test_arguments(version, stride, padding, groups, bias, mode):
    dtype = torch.float32
    ours, theirs = pair("Dcls2d", 8, 8, 9, stride, padding, 11, groups, bias, mode, version, dtype=dtype)
    compare(ours, theirs, torch.randn(3, 8, 13, 12), TOLERANCE[dtype])


@pytest.mark.parametrize("cells", [(50, 12), (8, 2), (16, 15)], ids=str)
@pytest.mark.parametrize("version", VERSIONS)
def test_depthwise_of_the_models(version, cells):
    """The sizes that take the FFT, the convolution and a kernel larger than its map, from initial values."""
    ours, theirs = pair("Dcls2d", 16, 16, 26, 1, 11, 23, 16, version=version, dtype=torch.float32, spread=0.5)
    compare(ours, theirs, torch.randn(3, 16, *cells), 1e-5)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("position", [0.0, 1.0, 2.0, -2.0, 2.3, -2.6, 3.0, -3.2, 9.0])
def test_positions_at_and_beyond_the_border(version, position):
    """Cells, borders and beyond, where derivatives of the triangle jump."""
    for index, other in itertools.product((0, 1), (0.0, 0.3)):
        ours, theirs = pair("Dcls2d", 1, 1, 1, dilated_kernel_size=5, version=version)
        with torch.no_grad():
            for layer in (ours, theirs):
                layer.P[index].fill_(position)
                layer.P[1 - index].fill_(other)
        grad = torch.randn(1, 1, 5, 5, dtype=torch.float64)
        close(ours.kernel(), kernel_of(theirs), 1e-12)
        ours.kernel().backward(grad)
        kernel_of(theirs).backward(grad)
        for one, two in zip(ours.parameters(), theirs.parameters(), strict=True):
            if two.grad is not None:
                # where an element is far outside, all that is left is a gradient near zero
                assert torch.allclose(one.grad, two.grad, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("flat_dim", [0, 1])
def test_one_learned_dimension_of_two(version, flat_dim):
    ours, theirs = pair("Dcls2dK1d", 4, 4, 3, 1, 2, 5, 2, True, "zeros", version, flat_dim)
    compare(ours, theirs, torch.randn(2, 4, 7, 6, dtype=torch.float64), 1e-12)


@pytest.mark.parametrize("version", ["gauss", "max", "v1"])  # the published layer cannot run v0
def test_one_learned_dimension_of_three(version):
    ours, theirs = pair("Dcls3_1d", 4, 4, 3, 1, 1, (3, 2), 6, 2, version=version)
    compare(ours, theirs, torch.randn(2, 4, 5, 6, 7, dtype=torch.float64), 1e-12)


def test_one_learned_dimension_of_three_v0():
    """Not comparable with the published layer: a `Dcls1d` for every row of the kernel."""
    with pytest.raises(RuntimeError, match="No active exception"):
        published.Dcls3_1d(4, 4, 3, dense_kernel_size=2, dilated_kernel_size=6, version="v0")(
            torch.randn(1, 4, 8, 8, 8)
        )
    layer = dcls.Dcls3_1d(4, 4, 3, dense_kernel_size=2, dilated_kernel_size=6, version="v0")
    assert layer(torch.randn(1, 4, 8, 8, 8)).shape == (1, 4, 7, 7, 3)
    row = dcls.dense_kernel(layer.weight[:, :, 1, 0], layer.P[:, :, :, 1, 0], None, (6,), "v0")
    close(layer.kernel()[:, :, 1, 0], row, 1e-6)


@pytest.mark.parametrize("version", VERSIONS)
def test_dense_and_learned_axis(version):
    """``Dcls2_1d`` is a ``Dcls1d`` for every row of its kernel."""
    torch.manual_seed(0)
    layer = dcls.Dcls2_1d(2, 3, 4, dense_kernel_size=3, dilated_kernel_size=7, version=version)
    assert layer.weight.shape == (3, 2, 3, 4)
    assert layer.P.shape == (1, 3, 2, 3, 4)
    row = dcls.Dcls1d(2, 3, 4, dilated_kernel_size=7, version=version)
    for i in range(3):
        with torch.no_grad():
            row.weight.copy_(layer.weight[:, :, i])
            row.P.copy_(layer.P[:, :, :, i])
        close(layer.kernel()[:, :, i], row.kernel(), 1e-6)


@pytest.mark.parametrize("name", ["Dcls1d", "Dcls2d", "Dcls3d", "Dcls3_1d", "Dcls2dK1d"])
def test_published_arguments(name):
    """The published arguments, by name, in order and with their defaults; ours follow them."""
    ours, theirs = (
        [(p.name, p.default) for p in inspect.signature(getattr(package, name)).parameters.values()]
        for package in (dcls, published)
    )
    assert ours[: len(theirs)] == theirs
    own = ["device", "dtype", "centred", "causal"]
    assert [argument for argument, _ in ours[len(theirs) :]] == [n for n in own if name != "Dcls3_1d" or n != "centred"]


@pytest.mark.parametrize("version", VERSIONS)
def test_state_dict_both_ways(version):
    ours = dcls.Dcls2d(4, 4, 3, dilated_kernel_size=5, version=version)
    theirs = published.Dcls2d(4, 4, 3, dilated_kernel_size=5, version=version)
    theirs.load_state_dict(ours.state_dict())
    close(kernel_of(theirs), ours.kernel(), 1e-5)


@pytest.mark.parametrize("name", ["Dcls1d", "Dcls2d", "Dcls3d"])
@pytest.mark.parametrize("size", [5, 6])
def test_clamp(name, size):
    ours, theirs = pair(name, 2, 2, 50, dilated_kernel_size=size, spread=9.0)
    ours.clamp_parameters()
    theirs.clamp_parameters()
    assert torch.equal(ours.P, theirs.P)
    assert ours.P.abs().max() == size // 2


@pytest.mark.parametrize(("version", "spread"), [("gauss", 0.23), ("max", 0.0)])
def test_initial_values(version, spread):
    torch.manual_seed(0)
    layer = dcls.Dcls2d(64, 64, 20, dilated_kernel_size=9, groups=2, version=version)
    twin = torch.nn.Linear(32 * 20, 64)  # its initial values are uniform within the same bounds
    assert layer.P.std().item() == pytest.approx(0.5, rel=0.02)
    assert layer.P.mean().item() == pytest.approx(0.0, abs=0.01)
    assert torch.all(spread == layer.SIG)
    assert layer.weight.abs().max().item() == pytest.approx(twin.weight.abs().max().item(), rel=0.01)
    assert layer.bias.abs().max().item() == pytest.approx(twin.bias.abs().max().item(), rel=0.2)


def test_no_denormal_cells():
    """Kernels of the paper's size at their initial values hold exact zeros, or values that convolve at full speed."""
    torch.manual_seed(0)
    kernel = dcls.Dcls2d(96, 96, 26, dilated_kernel_size=23, groups=96).kernel()
    assert (kernel == 0).any()
    assert kernel[kernel != 0].abs().min() > 1e-32


@pytest.mark.parametrize("version", VERSIONS)
def test_outer_cells_without_elements_are_left_out(version):
    """A forward convolves with the part of the kernel that elements touch, as long as they touch no border."""
    layer = dcls.Dcls2d(4, 4, 3, 1, (11, 2), 23, 4, version=version)
    with torch.no_grad():
        layer.P.clamp_(-1.5, 1.5)
    kernel, pads = layer.kernel_and_pads()
    assert kernel.shape[2] < 23
    assert pads[0] == (11 - (23 - kernel.shape[2]) // 2,) * 2
    assert kernel.shape[3] == 19  # no more is left out than there is padding to make up for it
    assert pads[1] == (0, 0)
    input = torch.randn(2, 4, 24, 26)
    close(layer(input), F.conv2d(input, layer.kernel(), layer.bias, 1, (11, 2), 1, 4), 1e-5)
    with torch.no_grad():
        layer.P[:, 0].fill_(-11)
        layer.P[:, 1].fill_(11)
    assert layer.kernel_and_pads()[0].shape[2:] == (23, 23)


@pytest.mark.parametrize("cells", [(50, 20), (9, 7), (8, 2), (1, 12)], ids=str)
@pytest.mark.parametrize("size", [(23, 23), (7, 11), (4, 6), (1, 5)], ids=str)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=["nchw", "nhwc"])
def test_depthwise_convolution_is_a_convolution(cells, size, memory_format):
    torch.manual_seed(0)
    padding = (size[0] // 2, size[1] // 2)
    input = torch.randn(5, 16, *cells).to(memory_format=memory_format).requires_grad_()
    kernel = torch.randn(16, 1, *size, requires_grad=True)
    bias = torch.randn(16, requires_grad=True)
    output = convolve(input, kernel, bias, (1, 1), [(p, p) for p in padding], "zeros", 16)
    assert isinstance(output.grad_fn, DepthwiseConvolution._backward_cls)
    assert output.is_contiguous(memory_format=memory_format)
    sources = (input, kernel, bias)
    doubles = [source.detach().double().requires_grad_() for source in sources]
    expected = F.conv2d(doubles[0], doubles[1], doubles[2], 1, padding, 1, 16)
    close(output, expected, 1e-5)
    grad = torch.randn_like(output)
    for one, two in zip(
        torch.autograd.grad(output, sources, grad), torch.autograd.grad(expected, doubles, grad.double()), strict=True
    ):
        close(one, two, 1e-5)
