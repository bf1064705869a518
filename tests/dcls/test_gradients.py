"""Derivatives by finite differences, and properties of kernels that hold for any positions."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import dcls
from dcls.convolution import convolve
from dcls.elements import axes_of_elements
from dcls.kernels import combine

VERSIONS = ["gauss", "max", "v1", "v0"]
SIZES = [(5,), (4, 5), (3, 3, 4)]


def elements(size, count=3, seed=0, leading=(2, 1)):
    """Random weight, P and SIG in float64, positions off the cells, where the triangle has no derivative."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(*leading, count, generator=generator, dtype=torch.float64)
    P = torch.rand(len(size), *leading, count, generator=generator, dtype=torch.float64) * 0.8 + 0.1
    P = P + torch.randint(-1, 1, P.shape, generator=generator)
    SIG = torch.rand(P.shape, generator=generator, dtype=torch.float64) * 0.3 + 0.1
    return [t.requires_grad_() for t in (weight, P, SIG)]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("version", VERSIONS)
def test_gradcheck(version, size):
    weight, P, SIG = elements(size)
    inputs = (weight, P, SIG) if version in ("gauss", "max") else (weight, P)

    def kernel(w, p, s=None):
        return dcls.dense_kernel(w, p, s, size, version)

    assert torch.autograd.gradcheck(kernel, inputs)


@pytest.mark.parametrize("version", VERSIONS)
def test_double_backward(version):
    size = (4, 5)
    weight, P, SIG = elements(size, count=2)
    inputs = (weight, P, SIG) if version in ("gauss", "max") else (weight, P)

    def kernel(w, p, s=None):
        return dcls.dense_kernel(w, p, s, size, version)

    assert torch.autograd.gradgradcheck(kernel, inputs)


def test_double_backward_of_the_convolution():
    """Against torch's own convolution, in float32: the quick one has no float64."""
    torch.manual_seed(0)
    input, kernel = torch.randn(2, 4, 50, 25, requires_grad=True), torch.randn(4, 1, 7, 5, requires_grad=True)
    results = []
    for f in (
        lambda: convolve(input, kernel, None, (1, 1), [(3, 3), (2, 2)], "zeros", 4),
        lambda: torch.nn.functional.conv2d(input, kernel, None, 1, (3, 2), 1, 4),
    ):
        first = torch.autograd.grad(f().square().sum(), (input, kernel), create_graph=True)
        second = torch.autograd.grad(first[0].square().sum() + first[1].square().mean(), (input, kernel))
        results.append((*first, *second))
    for ours, theirs in zip(*results, strict=True):
        assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("beyond", [False, True], ids=["cropped kernel", "whole kernel"])
def test_double_backward_of_a_layer(version, beyond):
    """A penalty on the gradients of input, weight and P, against operations that autograd differentiates itself."""
    torch.manual_seed(0)
    layer = dcls.Dcls2d(4, 4, 3, 1, 7, 15, 4, version=version)
    with torch.no_grad():
        layer.P.uniform_(0.1, 0.9)
        if layer.SIG is not None:
            layer.SIG.uniform_(0.1, 0.3)
        if beyond:
            layer.P[:, 0, 0, 0] = 6.7
            layer.P[:, 1, 0, 0] = -6.7
    assert (layer.kernel_and_pads()[0].shape[2] < 15) is not beyond
    input = torch.randn(2, 4, 10, 12, requires_grad=True)
    sources = list(layer.parameters())

    def penalty(output):
        first = torch.autograd.grad(output.square().sum(), (input, layer.weight, layer.P), create_graph=True)
        return torch.autograd.grad(sum(part.square().mean() for part in first), (input, *sources))

    axes = axes_of_elements(layer.P, layer.SIG, (15, 15), version, derivatives=False)  # no backward of our own in these
    plain = combine(layer.weight, [axis.height for axis in axes], version)
    expected = penalty(torch.nn.functional.conv2d(input, plain, layer.bias, 1, 7, 1, 4))
    for ours, theirs in zip(penalty(layer(input)), expected, strict=True):
        assert theirs.abs().max() > 0
        assert (ours - theirs).abs().max() <= 1e-4 * theirs.abs().max()


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(VERSIONS),
    st.sampled_from([(5,), (4, 4), (3, 3, 3)]),
    st.integers(0, 10_000),
    st.floats(-5, 5).filter(lambda w: abs(w) > 1e-3),
)
def test_mass_of_one_element_is_its_weight(version, size, seed, weight):
    _, P, SIG = elements(size, 1, seed, (1,))
    kernel = dcls.dense_kernel(torch.full((1, 1), weight, dtype=P.dtype), P.detach(), SIG.detach(), size, version)
    assert kernel.sum().item() == pytest.approx(weight, rel=1e-5)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(VERSIONS), st.integers(1, 3), st.integers(0, 10_000), st.integers(-2, 2), st.data())
def test_whole_cells_translate_the_kernel(version, dimensions, seed, shift, data):
    index = data.draw(st.integers(0, dimensions - 1))
    size = (15,) * dimensions
    weight, P, SIG = (t.detach() for t in elements(size, 2, seed, (1,)))
    moved = P.clone()
    moved[index] += shift
    axis = dcls.axis_of(version, dimensions)[index]
    one, two = (dcls.dense_kernel(weight, p, SIG, size, version) for p in (P, moved))
    assert torch.allclose(one.roll(shift, axis + 1), two, atol=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(VERSIONS), st.sampled_from(SIZES), st.integers(0, 10_000), st.permutations(range(4)))
def test_order_of_elements_changes_nothing(version, size, seed, order):
    sources = [t.detach() for t in elements(size, 4, seed)]
    one = dcls.dense_kernel(*sources, size, version)
    two = dcls.dense_kernel(*(t[..., list(order)] for t in sources), size, version)
    assert torch.allclose(one, two, rtol=0, atol=1e-12)
