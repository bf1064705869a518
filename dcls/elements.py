"""Elements of a dense kernel: their heights along each kernel axis, from positions and spreads."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import log
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from .cache import cached

VERSIONS = ("gauss", "max", "v1", "v0")
SPREAD_VERSIONS = ("gauss", "max")  # those whose elements have a learned spread
EPSILON = 1e-7  # added to the sum over the grid of one element
MIN_SPREAD = 0.27  # standard deviation of a Gaussian element whose SIG is 0
# smaller heights count as 0: products of them would be denormal, on which a CPU convolves 100 times slower
NEGLIGIBLE = {torch.float32: 1e-14, torch.float64: 1e-100}


class Axis(NamedTuple):
    """Heights of the elements along one kernel axis, (n, cells, kernel_count), and their derivatives if asked for."""

    height: Tensor
    by_position: Tensor | None
    by_spread: Tensor | None


@dataclass(frozen=True)
class Elements:
    """Elements along all kernel axes."""

    axes: list[Axis]

    @cached_property
    def margins(self) -> tuple[int, ...]:
        """How many cells at both ends of each axis none of them touches; looked for only when asked."""
        with torch.no_grad():
            return tuple(map(empty_margin, self.axes))


def axis_of(version: str, dimensions: int) -> tuple[int, ...]:
    """Kernel axis that each index of P moves along, as in the published package 0.1.1.

    gauss, max and v1 count the axes from the last; v0 from the first, but in 3d with 1 and 2 swapped.
    """
    if version != "v0":
        return tuple(reversed(range(dimensions)))
    return (0, 2, 1) if dimensions == 3 else tuple(range(dimensions))


def check_version(version: str) -> None:
    """Raise ValueError for an unknown version."""
    if version not in VERSIONS:
        raise ValueError(f"version must be one of {VERSIONS}, but got version='{version}'")


def needs_derivatives(P: Tensor, SIG: Tensor | None) -> bool:
    """Whether a backward pass will need the derivatives of the heights; they take as long as the heights."""
    return torch.is_grad_enabled() and (P.requires_grad or (SIG is not None and SIG.requires_grad))


def cached_elements(
    P: Tensor,
    SIG: Tensor | None,
    size: tuple[int, ...],
    version: str,
    derivatives: bool,
    owner: Tensor | None = None,
) -> Elements:
    """Elements without a graph, computed once for all layers that share P, or its ``owner``, until it changes."""

    def compute() -> Elements:
        return Elements(axes_of_elements(P, SIG, size, version, derivatives))

    return cached(P if owner is None else owner, (P, SIG), (size, version, derivatives), compute)


def axes_of_elements(P: Tensor, SIG: Tensor | None, size: Sequence[int], version: str, derivatives: bool) -> list[Axis]:
    """Heights, and derivatives if asked for, of all elements along each kernel axis, in the order of the kernel axes.

    They are contiguous whatever P is. In a channels_last model P is not, and torch multiplies a batch of matrices
    that are not contiguous one by one.
    """
    axes: list[Any] = [None] * len(size)
    for d, axis in enumerate(axis_of(version, len(size))):
        position = P[d].flatten(0, -2).contiguous().unsqueeze(-2) + size[d] // 2
        spread = None if SIG is None else SIG[d].flatten(0, -2).contiguous().unsqueeze(-2)
        cells = torch.arange(size[axis], device=P.device, dtype=P.dtype).unsqueeze(-1)
        axes[axis] = heights(cells, position, spread, version, derivatives)
    return axes


def heights(cells: Tensor, position: Tensor, spread: Tensor | None, version: str, derivatives: bool) -> Axis:
    """Heights over cells (cells, 1) of elements at position (n, 1, kernel_count); formulas in ``dense_kernel``."""
    if version == "v0":  # the derivative at a cell is that on its right, as in the published package
        lower = position.detach().floor()
        right = position - lower
        at_lower, at_upper = (cells == lower).to(position.dtype), (cells == lower + 1).to(position.dtype)
        return Axis(at_lower * (1 - right) + at_upper * right, at_upper - at_lower, None)
    distance = cells - position
    if version == "gauss":
        assert spread is not None
        deviation = MIN_SPREAD + spread.abs()
        scaled = distance / deviation
        negligible = NEGLIGIBLE[position.dtype]
        # clamped to just below what counts as 0: an exponential that is denormal takes 20 times as long
        exponent = (-0.5 * scaled.square()).clamp(min=log(negligible) - 1)
        height = zero_below(torch.exp(exponent), negligible)
        if not derivatives:
            return Axis(height, None, None)
        by_position = height * scaled / deviation
        return Axis(height, by_position, by_position * scaled * spread.sign())
    reach = 1 - distance.abs() if spread is None else 1 + spread.abs() - distance.abs()
    height = torch.relu(reach)
    if not derivatives:
        return Axis(height, None, None)
    inside = (height > 0).to(height.dtype)
    return Axis(height, distance.sign() * inside, None if spread is None else spread.sign() * inside)


def zero_below(values: Tensor, least: float) -> Tensor:
    """0 where a value is not above ``least``; torch's older ONNX exporter knows no threshold but 0."""
    if torch.jit.is_tracing():
        return torch.where(values > least, values, torch.zeros_like(values))
    return F.threshold(values, least, 0.0)


def empty_margin(axis: Axis) -> int:
    """Cells at both ends of an axis on which all heights and their derivatives are 0; always 0 on a GPU."""
    cells = axis.height.shape[1]
    if axis.height.device.type != "cpu" or axis.height.numel() == 0:  # reading values would wait for the GPU
        return 0
    highest = axis.height.amax(0)
    if axis.by_position is not None:
        highest = highest + axis.by_position.abs().amax(0)
    touched = highest.sum(1).nonzero().flatten().tolist()
    if not touched:
        return (cells - 1) // 2
    return min(touched[0], cells - 1 - touched[-1], (cells - 1) // 2)


def crop(axes: list[Axis], margins: tuple[int, ...]) -> list[Axis]:
    """Leave out the outer ``margins[a]`` cells at both ends of axis a."""

    def inner(part: Tensor, margin: int) -> Tensor:
        return part[:, margin : part.shape[1] - margin]

    return [
        Axis(*(None if part is None else inner(part, margin) for part in axis))  # type: ignore[arg-type]
        for axis, margin in zip(axes, margins, strict=True)
    ]
