"""Settings of all tests here, and the layer that many of them use."""

import copy
import os

import pytest
import torch
from torch import nn

import dcls

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # Triton's kernels then run on a CPU, slowly; read when they are imported

# on busy cores, threads that wait for each other cost far more than these small sizes take
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _default_choice():
    """Every test starts with the default, whatever the one before it chose."""
    dcls.use_convolution("rule")


def depthwise(version="gauss", channels=8, size=9, **kwargs):
    torch.manual_seed(0)
    return dcls.Dcls2d(channels, channels, 4, 1, size // 2, size, channels, version=version, **kwargs)


@pytest.fixture
def input():
    return torch.randn(2, 8, 12, 10, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def small():
    """Two stages of depthwise convolutions in several styles."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.Conv2d(8, 8, 7, padding=3, groups=8),
        nn.BatchNorm2d(8),
        nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False),
        nn.Conv2d(8, 16, 3, 2, padding=1, groups=8, padding_mode="circular"),
        nn.Conv2d(16, 16, 5, padding=4, dilation=2, groups=16),
        nn.Conv2d(16, 16, 1, groups=16),
    ).eval()


def fresh(layer, input):
    """Output computed from a layer's parameters without anything cached."""
    other = dcls.fuse(copy.deepcopy(layer))
    with torch.no_grad():
        return other(input)
