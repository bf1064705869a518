"""Dense kernels from the weights, positions and spreads of their elements."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from math import log, prod
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from . import triton_ready
from .memory import is_real, remembered

VERSIONS = ("gauss", "max", "v1", "v0")
EPSILON = 1e-7  # added to the sum over the grid of one element
MIN_SPREAD = 0.27  # standard deviation of a Gaussian element whose SIG is 0
# smaller heights count as 0: products of them would be denormal, on which a CPU convolves 100 times slower
NEGLIGIBLE = {torch.float32: 1e-14, torch.float64: 1e-100}


class Axis(NamedTuple):
    """Heights of the elements along one kernel axis, (n, cells, kernel_count), and their derivatives if asked for."""

    height: Tensor
    by_position: Tensor | None
    by_spread: Tensor | None


class Elements(NamedTuple):
    """Elements along all kernel axes, and how many cells at both ends of each axis none of them touches."""

    axes: list[Axis]
    margins: tuple[int, ...]


def axis_of(version: str, dimensions: int) -> tuple[int, ...]:
    """Kernel axis that each index of P moves along, as the published package 0.1.1 has it.

    gauss, max and v1 count the axes from the last; v0 from the first, but in 3d with 1 and 2 swapped.
    """
    if version != "v0":
        return tuple(reversed(range(dimensions)))
    return (0, 2, 1) if dimensions == 3 else tuple(range(dimensions))


def dense_kernel(weight: Tensor, P: Tensor, SIG: Tensor | None, size: Sequence[int], version: str) -> Tensor:
    """Dense kernel of elements with learnable positions.

    weight is (*leading, kernel_count); P and SIG are (len(size), *leading, kernel_count), in cells, P[d] from
    ``size[d] // 2`` on the kernel axis ``axis_of(version, len(size))[d]``. Returns (*leading, *size) in the dtype
    of weight: sum_k weight_k G_k / (sum over the grid of G_k + 1e-7), with G_k the product over the axes of

    - gauss: exp(-x^2 / (2 (0.27 + |SIG|)^2)), x the distance to the position (arXiv 2306.00817, section 2);
    - max: max(0, 1 + |SIG| - |x|) (2306.00817, section 2);
    - v1, v0: max(0, 1 - |x|), bilinear interpolation, v0 not normalised (2112.03740, section 2).

    Raises ValueError for an unknown version, or spreads that are missing.
    """
    return cropped_kernel(weight, P, SIG, size, version, (0,) * len(size))


def cropped_kernel(
    weight: Tensor, P: Tensor, SIG: Tensor | None, size: Sequence[int], version: str, margins: tuple[int, ...]
) -> Tensor:
    """``dense_kernel`` without the outer ``margins[a]`` cells at both ends of kernel axis a."""
    check_version(version)
    if version in ("gauss", "max") and SIG is None:
        raise ValueError(f"version='{version}' needs SIG")
    dtype = weight.dtype
    if dtype in (torch.float16, torch.bfloat16):  # exponentials and sums of 16 bits would move the elements
        weight, P, SIG = weight.float(), P.float(), None if SIG is None else SIG.float()
    with without_autocast(weight):
        if torch.compiler.is_dynamo_compiling() and is_fused(weight, P, size):
            kernel = torch.ops.dcls.dense_kernel(weight, P, SIG, list(size), version)
        elif torch.compiler.is_compiling() or torch.jit.is_tracing():
            axes = crop(axes_of_elements(P, SIG, size, version, slopes=False), margins)
            kernel = combine(weight, [axis.height for axis in axes], version)
        else:
            kernel = DenseKernel.apply(weight, P, SIG, tuple(size), version, margins, wants_slopes(P, SIG))
    return kernel.to(dtype)


def without_autocast(tensor: Tensor) -> AbstractContextManager[Any]:
    """Switch autocast off for the device of a tensor; the meta device has none."""
    return nullcontext() if tensor.is_meta else torch.autocast(tensor.device.type, enabled=False)


def check_version(version: str) -> None:
    """Raise ValueError for an unknown version."""
    if version not in VERSIONS:
        raise ValueError(f"version must be one of {VERSIONS}, but got version='{version}'")


def is_fused(weight: Tensor, P: Tensor, size: Sequence[int]) -> bool:
    """Whether this kernel is built in one step of ``dcls.triton_kernel``: two-dimensional, float32, on CUDA."""
    return len(size) == 2 and weight.is_cuda and weight.dtype == P.dtype == torch.float32 and triton_ready.takes(weight)


def wants_slopes(P: Tensor, SIG: Tensor | None) -> bool:
    """Whether a backward pass will need the derivatives of the heights; they take as long as the heights."""
    return torch.is_grad_enabled() and (P.requires_grad or (SIG is not None and SIG.requires_grad))


def axes_of_elements(P: Tensor, SIG: Tensor | None, size: Sequence[int], version: str, slopes: bool) -> list[Axis]:
    """Heights and, with slopes, derivatives of all elements along each kernel axis, in the order of the kernel axes.

    They are contiguous, whatever P is: a model in channels_last has its P so too, and a batched product of matrices
    that are not contiguous is computed one by one.
    """
    axes: list[Any] = [None] * len(size)
    for d, axis in enumerate(axis_of(version, len(size))):
        position = P[d].flatten(0, -2).contiguous().unsqueeze(-2) + size[d] // 2
        spread = None if SIG is None else SIG[d].flatten(0, -2).contiguous().unsqueeze(-2)
        cells = torch.arange(size[axis], device=P.device, dtype=P.dtype).unsqueeze(-1)
        axes[axis] = heights(cells, position, spread, version, slopes)
    return axes


def heights(cells: Tensor, position: Tensor, spread: Tensor | None, version: str, slopes: bool) -> Axis:
    """Heights over cells (cells, 1) of elements at position (n, 1, kernel_count); see ``dense_kernel``."""
    if version == "v0":  # the derivative at a cell is that to its right, as in the published package
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
        height = F.threshold(torch.exp(exponent), negligible, 0.0)
        if not slopes:
            return Axis(height, None, None)
        by_position = height * scaled / deviation
        return Axis(height, by_position, by_position * scaled * spread.sign())
    reach = 1 - distance.abs() if spread is None else 1 + spread.abs() - distance.abs()
    height = torch.relu(reach)
    if not slopes:
        return Axis(height, None, None)
    inside = (height > 0).to(height.dtype)
    return Axis(height, distance.sign() * inside, None if spread is None else spread.sign() * inside)


def combine(weight: Tensor, heights: list[Tensor], version: str) -> Tensor:
    """Dense kernel (*leading, *size) from the heights along the axes, (n, size[a], kernel_count) each."""
    scaled = weight.flatten(0, -2)
    if version != "v0":
        scaled = scaled / (grid_sum(heights) + EPSILON)
    size = [height.shape[1] for height in heights]
    if len(size) == 1:
        kernel = (heights[0] @ scaled.unsqueeze(-1)).squeeze(-1)
    else:
        kernel = outer(heights[:-1]) @ (heights[-1] * scaled.unsqueeze(1)).transpose(1, 2)
    return kernel.reshape(*weight.shape[:-1], *size)


def outer(heights: list[Tensor]) -> Tensor:
    """Products over one or two axes, (n, cells of both axes, kernel_count)."""
    if len(heights) == 1:
        return heights[0]
    both = (heights[0].unsqueeze(2) * heights[1].unsqueeze(1)).flatten(1, 2)
    return F.threshold(both, NEGLIGIBLE[both.dtype], 0.0)


def grid_sum(heights: list[Tensor]) -> Tensor:
    """Sum over the grid of every element, (n, kernel_count): the grid factors, so does its sum."""
    total = heights[0].sum(1)
    for height in heights[1:]:
        total = total * height.sum(1)
    return total


class DenseKernel(torch.autograd.Function):
    """``dense_kernel`` with a backward that reuses the heights, which layers of a stage share."""

    @staticmethod
    def forward(
        weight: Tensor,
        P: Tensor,
        SIG: Tensor | None,
        size: tuple[int, ...],
        version: str,
        margins: tuple[int, ...],
        slopes: bool,
    ) -> Tensor:
        if is_real(weight) and is_fused(weight, P, size) and not any(margins):
            from .triton_kernel import dense  # imported where it runs: Triton comes only with CUDA builds of torch

            return dense(weight, P, SIG, size, version)
        axes = crop(shared_elements(P, SIG, size, version, slopes).axes, margins)
        return combine(weight, [axis.height for axis in axes], version)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        weight, P, SIG, ctx.size, ctx.version, ctx.margins, _ = inputs
        ctx.save_for_backward(weight, P, SIG)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        weight, P, SIG = ctx.saved_tensors
        if not torch.is_grad_enabled() and is_real(grad) and is_fused(weight, P, ctx.size) and not any(ctx.margins):
            from .triton_kernel import gradients

            return *gradients(grad, weight, P, SIG, ctx.size, ctx.version), None, None, None, None
        # with gradients on (double backward) the heights must carry a graph, and remembered ones carry none
        if torch.is_grad_enabled():
            axes = axes_of_elements(P, SIG, ctx.size, ctx.version, slopes=True)
        else:
            axes = shared_elements(P, SIG, ctx.size, ctx.version, slopes=True).axes
        axes = crop(axes, ctx.margins)
        sums = [axis.height.sum(1) for axis in axes]
        flat = weight.flatten(0, -2)
        norm = prod(sums[1:], start=sums[0]) + EPSILON if ctx.version != "v0" else torch.ones_like(flat)
        scaled = flat / norm
        grad = grad.reshape(flat.shape[0], *(axis.height.shape[1] for axis in axes))
        along = [grad_along(grad, axes, a) for a in range(len(axes))]
        by_scaled = (along[0] * axes[0].height).sum(1)
        by_sum = -by_scaled * scaled / norm if ctx.version != "v0" else torch.zeros_like(flat)
        by_P: list[Any] = [None] * len(axes)
        by_SIG: list[Any] = [None] * len(axes)
        for d, a in enumerate(axis_of(ctx.version, len(axes))):
            others = by_sum * prod(sums[:a] + sums[a + 1 :], start=torch.ones_like(flat))
            by_position, by_spread = axes[a].by_position, axes[a].by_spread
            assert by_position is not None
            by_P[d] = scaled * (along[a] * by_position).sum(1) + others * by_position.sum(1)
            if by_spread is not None:
                by_SIG[d] = scaled * (along[a] * by_spread).sum(1) + others * by_spread.sum(1)
        return (
            (by_scaled / norm).reshape(weight.shape),
            torch.stack(by_P).reshape(P.shape),
            None if SIG is None else torch.stack(by_SIG).reshape(P.shape),
            None,
            None,
            None,
            None,
        )


def shared_elements(P: Tensor, SIG: Tensor | None, size: tuple[int, ...], version: str, slopes: bool) -> Elements:
    """Elements without a graph, computed once for all layers that share P, until it changes."""

    def compute() -> Elements:
        axes = axes_of_elements(P, SIG, size, version, slopes)
        return Elements(axes, tuple(margin_of(axis) for axis in axes))

    return remembered(P, (P, SIG), (size, version, slopes), compute)


def margin_of(axis: Axis) -> int:
    """Cells at both ends of an axis on which all heights and derivatives asked for are 0; 0 elsewhere than on a CPU."""
    cells = axis.height.shape[1]
    if axis.height.device.type != "cpu" or axis.height.numel() == 0:  # to look would be to wait for the device
        return 0
    highest = axis.height.amax(0)
    if axis.by_position is not None:
        highest = highest + axis.by_position.abs().amax(0)
    touched = highest.sum(1).nonzero().flatten().tolist()
    if not touched:
        return (cells - 1) // 2
    return min(touched[0], cells - 1 - touched[-1], (cells - 1) // 2)


def crop(axes: list[Axis], margins: tuple[int, ...]) -> list[Axis]:
    """Leave out the outer cells of every axis."""

    def inner(heights: Tensor, margin: int) -> Tensor:
        return heights[:, margin : heights.shape[1] - margin]

    return [
        Axis(*(None if part is None else inner(part, margin) for part in axis))  # type: ignore[arg-type]
        for axis, margin in zip(axes, margins, strict=True)
    ]


def grad_along(grad: Tensor, axes: list[Axis], axis: int) -> Tensor:
    """Gradient (n, *size) of the kernel contracted with the heights along all other axes: (n, cells, count)."""
    grad = grad.movedim(axis + 1, 1)
    others = [other.height for a, other in enumerate(axes) if a != axis]
    if not others:
        return grad.unsqueeze(-1)
    return grad.flatten(2) @ outer(others)
