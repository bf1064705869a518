"""For layers whose positions are delays: whole positions for evaluation, and stepping through time."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from .base import DclsNd
from .elements import SPREAD_VERSIONS, axis_of
from .training import dcls_layers


@contextmanager
def whole_positions(model: nn.Module) -> Iterator[None]:
    """Round all positions to whole cells inside their kernels, and restore them at the end, bit for bit.

    Meanwhile an element of ``gauss`` or ``max`` has no spread, as in ``v1``: it is one cell of the kernel, and what
    ``fuse`` makes of the model has no empty columns at the ends of its kernels.

    Parameters
    ----------
    model
        Its DCLS layers, or itself, are changed in place; layers may share positions.

    Examples
    --------
    >>> import dcls, torch
    >>> layer = dcls.Dcls1d(2, 2, 1, dilated_kernel_size=5)
    >>> with dcls.whole_positions(layer):
    ...     int((layer.kernel() != 0).sum())
    4
    """
    layers = [layer for _, layer in dcls_layers(model)]
    kept = {layer.P: layer.P.detach().clone() for layer in layers}
    versions = [(layer, layer.DCK.version) for layer in layers]
    try:
        for layer in layers:
            _round(layer)
            layer.whole = True
            if layer.DCK.version in SPREAD_VERSIONS:
                layer.DCK.version = "v1"
        yield
    finally:
        with torch.no_grad():
            for P, value in kept.items():
                P.copy_(value)
        for layer, version in versions:
            layer.DCK.version = version
            layer.whole = False


@torch.no_grad()
def _round(layer: DclsNd) -> None:
    size = layer.dilated_kernel_size
    for d, axis in enumerate(axis_of(layer.version, len(size))):
        centre = size[axis if layer.centred else d] // 2
        layer.P[d].round_().clamp_(-centre, size[axis] - 1 - centre)


class Stream:
    """A causal layer, step by step: what it gives for parts of an input, one after the other, is what it gives at once.

    Parameters
    ----------
    layer
        With ``causal=True`` and stride 1 along the last axis, which is time.

    Raises
    ------
    ValueError
        For another layer.

    Examples
    --------
    >>> import dcls, torch
    >>> layer = dcls.Dcls1d(3, 4, 1, dilated_kernel_size=5, causal=True)
    >>> input, stream = torch.randn(2, 3, 10), dcls.Stream(layer)
    >>> steps = [stream(input[..., t : t + 1]) for t in range(10)]
    >>> torch.allclose(torch.cat(steps, -1), layer(input), atol=1e-5)
    True
    """

    def __init__(self, layer: DclsNd) -> None:
        if not layer.causal or layer.stride[-1] != 1:
            raise ValueError(f"a stream needs a layer with causal=True and stride 1 along the last axis, not {layer}")
        self.layer = layer
        self.past: Tensor | None = None

    def __call__(self, input: Tensor) -> Tensor:
        """Output (N, out, ..., steps) for the next steps of the input, (N, C, ..., steps), of one or more."""
        layer, reach = self.layer, self.layer.kernel_size[-1] - 1
        past = input.new_zeros(*input.shape[:-1], reach) if self.past is None else self.past
        window = torch.cat([past, input], -1)
        self.past = window[..., window.shape[-1] - reach :]
        pads = [*layer.pads[:-1], (0, 0)]
        return layer.convolve_padded(window, layer.weight, layer.bias, layer.P, layer.SIG, pads)

    def reset(self) -> None:
        """Forget the past: the next input is the first of another sequence."""
        self.past = None
