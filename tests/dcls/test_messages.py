"""Impossible arguments and inputs raise what torch's convolutions raise; and the repr."""

import pytest
import torch
from torch import nn

import dcls


@pytest.mark.parametrize(
    "arguments",
    [
        {"groups": 3},
        {"groups": 0},
        {"out_channels": 7, "groups": 2},
        {"padding_mode": "mirror"},
        {"padding": "full"},
        {"padding": "same", "stride": 2},
        {"groups": -1},
    ],
    ids=str,
)
def test_messages_of_impossible_arguments(arguments):
    given = {"in_channels": 8, "out_channels": 8, **arguments}
    with pytest.raises(ValueError) as expected:
        nn.Conv2d(kernel_size=5, **given)
    with pytest.raises(ValueError) as raised:
        dcls.Dcls2d(kernel_count=3, dilated_kernel_size=5, **given)
    assert str(raised.value) == str(expected.value)


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
@pytest.mark.parametrize("groups", [1, 8])
@pytest.mark.parametrize(
    "arguments",
    [
        {"stride": 0},
        {"stride": -1},
        {"stride": (1, 2, 3)},
        {"padding": -1},
        {"padding": (1, 2, 3)},
        {"padding": 20, "padding_mode": "reflect"},
        {"in_channels": -8},
        {"in_channels": 0},
        {"out_channels": 0},
        {"dtype": torch.int64},
        {"device": "nowhere"},
    ],
    ids=str,
)
def test_messages_of_arguments_that_torch_refuses_later(arguments, groups):
    """Torch builds most of these layers and raises when they are called."""
    given = {"in_channels": 8, "out_channels": 8, "groups": groups, **arguments}
    messages = []
    for kind, sizes in ((nn.Conv2d, {"kernel_size": 5}), (dcls.Dcls2d, {"kernel_count": 3, "dilated_kernel_size": 5})):
        with pytest.raises((RuntimeError, ValueError)) as raised:
            kind(**sizes, **given)(torch.randn(1, 8, 12, 12))
        messages.append((raised.type, str(raised.value)))
    assert messages[0] == messages[1]


@pytest.mark.parametrize("shape", [(2, 7, 12, 12), (2, 8, 3, 3), (2, 8), (8,)], ids=str)
@pytest.mark.parametrize("groups", [1, 8])
def test_messages_of_impossible_inputs(shape, groups):
    layer, twin = dcls.Dcls2d(8, 8, 3, dilated_kernel_size=5, groups=groups), nn.Conv2d(8, 8, 5, groups=groups)
    with pytest.raises(RuntimeError) as expected:
        twin(torch.randn(shape))
    with pytest.raises(RuntimeError) as raised:
        layer(torch.randn(shape))
    assert str(raised.value) == str(expected.value)


def test_other_messages():
    with pytest.raises(ValueError, match="version must be one of"):
        dcls.Dcls2d(8, 8, 3, version="v2")
    with pytest.raises(ValueError, match="kernel_count"):
        dcls.Dcls2d(8, 8, 0)
    with pytest.raises(ValueError, match="dilated_kernel_size"):
        dcls.Dcls2d(8, 8, 3, dilated_kernel_size=0)
    with pytest.raises(RuntimeError, match="expected dilated_kernel_size to be a single integer value or a list of 2"):
        dcls.Dcls2d(8, 8, 3, dilated_kernel_size=(5, 5, 5))
    with pytest.raises(RuntimeError, match="expected dense_kernel_size to be a single integer value or a list of 2"):
        dcls.Dcls3_1d(8, 8, 3, dense_kernel_size=(3, 3, 3))
    with pytest.raises(ValueError, match="needs SIG"):
        dcls.dense_kernel(torch.ones(1, 1), torch.zeros(1, 1, 1), None, (3,), "gauss")
    with pytest.raises(ValueError, match="flat_dim"):
        dcls.Dcls2dK1d(8, 8, 3, flat_dim=2)


def test_repr():
    assert repr(dcls.Dcls2d(4, 8, 3, dilated_kernel_size=5, bias=False)) == (
        "Dcls2d(4, 8, kernel_count=3, stride=(1, 1), padding=(0, 0), dilated_kernel_size=(5, 5), groups=1, "
        "version='gauss', bias=False)"
    )
