"""Code written for the published package computes the same here: values, gradients, first values, attributes."""

import logging
import sys
import warnings

import pytest
import torch

import dcls
from dcls import arguments
from tests.dcls import shim
from tests.dcls.clients import CLIENTS

published = pytest.importorskip("DCLS.construct.modules", reason="the published package 0.1.1 is not installed")
NAME = "DCLS.construct.modules"


@pytest.fixture(autouse=True)
def quiet():
    logging.disable(logging.WARNING)
    arguments.warn_once.cache_clear()
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.__name__)
def test_clients(client, monkeypatch):
    theirs = client()
    monkeypatch.setitem(sys.modules, NAME, shim)
    ours = client()
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert torch.allclose(ours[name], value, rtol=1e-9, atol=1e-12), name


@pytest.mark.parametrize("version", ["v1", "v0"])
def test_a_spread_that_is_there_is_ignored(version):
    weight, P, SIG = torch.randn(2, 2, 3), torch.rand(1, 2, 2, 3), torch.ones(1, 2, 2, 3)
    expected = dcls.dense_kernel(weight, P, None, (5,), version)
    P.requires_grad_()
    kernel = dcls.dense_kernel(weight, P, SIG, (5,), version)
    assert torch.equal(kernel, expected)
    kernel.square().sum().backward()
    assert P.grad.abs().max() > 0
    layer = dcls.Dcls1d(2, 2, 3, padding=2, dilated_kernel_size=5)
    layer.DCK.version = version
    layer(torch.randn(1, 2, 8)).square().sum().backward()
    assert layer.SIG.grad is None
    assert {row["spread_mean"] for row in dcls.position_statistics(layer)} == {1.0}


LAYERS = [
    ("Dcls1d", {"dilated_kernel_size": 7}),
    ("Dcls2d", {"dilated_kernel_size": (5, 7)}),
    ("Dcls3d", {"dilated_kernel_size": (3, 4, 5)}),
    ("Dcls3_1d", {"dense_kernel_size": (3, 2), "dilated_kernel_size": 9}),
    ("Dcls2dK1d", {"dilated_kernel_size": 7, "flat_dim": 1}),
]


@pytest.mark.parametrize("version", ["gauss", "max", "v1"])
@pytest.mark.parametrize(("name", "options"), LAYERS, ids=[name for name, _ in LAYERS])
def test_one_seed_gives_one_layer(name, options, version):
    """Also where the count of an index is no multiple of 16, which torch draws by."""
    made = []
    for package in (published, dcls):
        torch.manual_seed(5)
        made.append((getattr(package, name)(3, 5, 7, version=version, **options), torch.rand(1)))
    (theirs, their_next), (ours, our_next) = made
    assert theirs.weight.numel() % 16
    for key, value in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[key], value), key
    assert torch.equal(our_next, their_next)
    input = torch.randn(2, 3, *[12] * len(ours.kernel_size))
    assert torch.allclose(ours(input), theirs(input), atol=1e-5)
    kinds = (ours.DCK, theirs.DCK)
    assert type(ours.DCK).__name__ == type(theirs.DCK).__name__
    for attribute in ("IDX", "lim", "version", "kernel_count", "groups", "in_channels", "out_channels"):
        one, other = (getattr(kind, attribute) for kind in kinds)
        assert torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other, attribute
    for attribute in ("transposed", "output_padding", "stride", "padding", "_reversed_padding_repeated_twice"):
        assert getattr(ours, attribute) == getattr(theirs, attribute), attribute
    assert ours._parameters.keys() == theirs._parameters.keys()


def test_only_the_construction_says_the_version():
    layer = dcls.Dcls1d(2, 2, 3, dilated_kernel_size=5)
    before = layer.kernel()
    layer.version = "max"
    assert layer.version == "gauss"
    assert torch.equal(layer.kernel(), before)
    with pytest.warns(UserWarning, match="DCK.version is 'gauss'"):
        layer(torch.randn(1, 2, 8))
    layer.DCK.version = "max"
    assert layer.version == "max"
    assert torch.equal(layer.kernel(), dcls.dense_kernel(layer.weight, layer.P, layer.SIG, (5,), "max"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layer(torch.randn(1, 2, 8))


def test_another_construction_counts():
    """One with a forward of its own, or a hook on ours, decides about the kernel."""

    class Halved(dcls.ConstructKernel1d):
        def forward(self, W, P, SIG):
            return super().forward(W, P, SIG) / 2

    layer = dcls.Dcls1d(2, 2, 3, padding=2, dilated_kernel_size=5, bias=False)
    input = torch.randn(1, 2, 8)
    expected = layer(input)
    handle = layer.DCK.register_forward_hook(lambda module, arguments, kernel: 3 * kernel)
    assert torch.allclose(layer(input), 3 * expected, atol=1e-6)
    handle.remove()
    layer.DCK = Halved(2, 2, 1, 3, (5,), "gauss")
    assert torch.allclose(layer(input), expected / 2, atol=1e-6)


def test_extra_entries_of_a_state_dict_load():
    layer = dcls.Dcls3_1d(2, 2, 3, dense_kernel_size=2, dilated_kernel_size=5)
    state = {**layer.state_dict(), "DCK.IDX": torch.zeros(5), "DCK.lim": torch.zeros(1)}
    torch.nn.init.zeros_(layer.P)
    layer.load_state_dict(state, strict=True)
    assert torch.equal(layer.P, state["P"])


@pytest.mark.parametrize("version", ["gauss", "max", "v1", "v0"])
@pytest.mark.parametrize("size", [(34, 9), (23, 7), (7, 1)], ids=str)
def test_rectangular_kernels(size, version):
    """Dead or off centre as published, which warns once; alive and in the middle with `centred`."""

    def make(**options):
        torch.manual_seed(0)
        return dcls.Dcls2d(4, 4, 6, dilated_kernel_size=size, groups=4, version=version, **options)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        make()
        make()
    said = [str(one.message) for one in caught if "centred=True" in str(one.message)]
    assert len(said) == (version != "v0")
    assert all(str(size) in text and one.filename == __file__ for text, one in zip(said, caught, strict=False))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layer = make(centred=True)
    kernel = layer.kernel().detach().abs().sum((0, 1))
    centre = [(kernel.sum(1 - a) * torch.arange(size[a])).sum() / kernel.sum() for a in (0, 1)]
    assert all(abs(c - s // 2) < 0.5 for c, s in zip(centre, size, strict=True))
    layer.kernel().square().sum().backward()
    assert layer.weight.grad.abs().max() > 1e-3
    square = dcls.Dcls2d(4, 4, 6, dilated_kernel_size=35, groups=4, version=version)
    square.load_state_dict(layer.state_dict())
    inner = square.kernel()[:, :, 17 - size[0] // 2 :, 17 - size[1] // 2 :][:, :, : size[0], : size[1]]
    if version == "v0":  # the others share an element's weight among the cells inside
        assert torch.allclose(layer.kernel(), inner, atol=1e-6)
    with torch.no_grad():
        layer.P.fill_(100)
        layer.clamp_parameters()
    axes = dcls.axis_of(version, 2)
    assert [layer.P[d].max().item() for d in (0, 1)] == [size[axes[d]] // 2 for d in (0, 1)]


def test_a_kernel_of_one_cell_warns():
    with pytest.warns(UserWarning, match="dilated_kernel_size=1"):
        dcls.Dcls1d(2, 2, 3)


def test_the_base_class_for_transposed_parameters():
    arguments = (4, 6, 3, (1,), (0,), (5,), True, (1,), 2, True, "zeros", "gauss")
    theirs, ours = published._DclsNd(*arguments), dcls._DclsNd(*arguments)
    assert {n: p.shape for n, p in ours.named_parameters()} == {n: p.shape for n, p in theirs.named_parameters()}
    assert ours.output_padding == (1,)
    with pytest.raises(NotImplementedError, match="transposed=True"):
        ours(torch.randn(1, 4, 8))
