"""The published package's layers (PyPI `dcls` 0.1.1, imported as `DCLS`) in the place of ours, to compare with."""

from __future__ import annotations

import logging

from torch import Tensor, nn

from dcls import Dcls2d

logging.disable(logging.WARNING)  # the published package logs two lines a layer
from DCLS.construct.modules import Dcls2d as PublishedDcls2d  # noqa: E402


def published_like(layer: Dcls2d) -> nn.Module:
    """A published layer with the arguments, values, dtype and device of one of ours (square kernels, zero padding)."""
    published = PublishedDcls2d(
        layer.in_channels,
        layer.out_channels,
        kernel_count=layer.kernel_count,
        dilated_kernel_size=layer.dilated_kernel_size[0],
        padding=layer.padding[0],
        groups=layer.groups,
        bias=layer.bias is not None,
        version=layer.version,
    )
    published.load_state_dict(layer.state_dict())
    return published.to(layer.weight)


def published_kernel(layer: nn.Module) -> Tensor:
    """Its dense kernel, (out, in // groups, *kernel size)."""
    return layer.DCK(layer.weight, layer.P, layer.SIG)


def with_published_layers(model: nn.Module) -> nn.Module:
    """Replace our layers in place; P and SIG stay the shared ones."""
    for path, layer in list(model.named_modules()):
        if isinstance(layer, Dcls2d):
            published = published_like(layer)
            published.P, published.SIG = layer.P, layer.SIG
            model.set_submodule(path, published)
    return model
