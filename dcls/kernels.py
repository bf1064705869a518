"""Dense kernels: the sum of their elements, with a backward that reuses the elements of shared positions."""

import weakref
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from math import prod
from typing import Any

import torch
from torch import Tensor

from . import triton_ready
from .cache import is_ordinary, is_transformed
from .elements import (
    EPSILON,
    NEGLIGIBLE,
    SPREAD_VERSIONS,
    Axis,
    axes_of_elements,
    axis_of,
    cached_elements,
    check_version,
    crop,
    needs_derivatives,
    zero_below,
)

FEW = 4  # elements: products of matrices of fewer columns take longer than products of their numbers


def dense_kernel(weight: Tensor, P: Tensor, SIG: Tensor | None, size: Sequence[int], version: str) -> Tensor:
    """Dense kernel of elements with learnable positions.

    It is sum_k weight_k G_k / (sum over the grid of G_k + 1e-7), with G_k the product over the axes of

    - gauss: exp(-x^2 / (2 (0.27 + |SIG|)^2)), x the distance to the position (arXiv 2306.00817, section 2);
    - max: max(0, 1 + |SIG| - |x|) (2306.00817, section 2);
    - v1, v0: max(0, 1 - |x|), bilinear interpolation, v0 not normalised (2112.03740, section 2); they ignore SIG.

    Parameters
    ----------
    weight : (*leading, kernel_count), with one leading axis or more
    P, SIG : (len(size), *leading, kernel_count)
        In cells, P[d] from ``size[d] // 2`` on the kernel axis ``axis_of(version, len(size))[d]``.
    size
        Cells along each axis of the kernel.
    version
        gauss, max, v1 or v0.

    Returns
    -------
    (*leading, *size), in the dtype of weight

    Raises
    ------
    ValueError
        For an unknown version, or spreads that are missing.

    Examples
    --------
    An element a quarter of a cell to the right of the middle:

    >>> import dcls, torch
    >>> dcls.dense_kernel(torch.ones(1, 1), torch.full((1, 1, 1), 0.25), None, (5,), "v1")
    tensor([[0.0000, 0.0000, 0.7500, 0.2500, 0.0000]])
    """
    return cropped_kernel(weight, P, SIG, size, version, (0,) * len(size))


def cropped_kernel(
    weight: Tensor, P: Tensor, SIG: Tensor | None, size: Sequence[int], version: str, margins: tuple[int, ...]
) -> Tensor:
    """``dense_kernel`` without the outer ``margins[a]`` cells at both ends of kernel axis a."""
    check_version(version)
    if version in SPREAD_VERSIONS and SIG is None:
        raise ValueError(f"version='{version}' needs SIG")
    SIG = SIG if version in SPREAD_VERSIONS else None
    dtype = weight.dtype
    if dtype in (torch.float16, torch.bfloat16):  # exponentials and sums of 16 bits would move the elements
        weight, P, SIG = weight.float(), P.float(), None if SIG is None else SIG.float()
    with without_autocast(weight):
        if torch.compiler.is_dynamo_compiling() and is_fused(weight, P, size):
            kernel = torch.ops.dcls.dense_kernel(weight, P, SIG, list(size), version)
        elif torch.compiler.is_compiling() or torch.jit.is_tracing() or is_transformed(weight, P, SIG):
            axes = crop(axes_of_elements(P, SIG, size, version, derivatives=False), margins)
            kernel = combine(weight, [axis.height for axis in axes], version)
        else:
            arguments = (tuple(size), version, margins, needs_derivatives(P, SIG), P)
            if torch.is_grad_enabled():
                # P is copied, so that it may change before the backward, through .data too, as in the published package
                kernel = DenseKernel.apply(weight, P.clone(), SIG, *arguments)
            else:
                kernel = built(weight, P, SIG, *arguments)
    return kernel.to(dtype)


def without_autocast(tensor: Tensor) -> AbstractContextManager[Any]:
    """Switch autocast off for the device of a tensor; the meta device has none."""
    return nullcontext() if tensor.is_meta else torch.autocast(tensor.device.type, enabled=False)


def is_fused(weight: Tensor, P: Tensor, size: Sequence[int]) -> bool:
    """Whether ``dcls.triton_kernel`` builds this kernel in one step: two-dimensional, float32, on CUDA."""
    return (
        len(size) == 2 and weight.is_cuda and weight.dtype == P.dtype == torch.float32 and triton_ready.can_run(weight)
    )


def combine(weight: Tensor, heights: list[Tensor], version: str) -> Tensor:
    """Dense kernel (*leading, *size) from the heights along the axes, (n, size[a], kernel_count) each."""
    scaled = weight.flatten(0, -2)
    if version != "v0":
        scaled = scaled / (grid_sum(heights) + EPSILON)
    size = [height.shape[1] for height in heights]
    if len(size) == 1 and weight.shape[-1] < FEW:
        kernel = (heights[0] * scaled.unsqueeze(1)).sum(-1) if weight.shape[-1] > 1 else heights[0][..., 0] * scaled
    elif len(size) == 1:
        kernel = (heights[0] @ scaled.unsqueeze(-1)).squeeze(-1)
    else:
        kernel = outer(heights[:-1]) @ (heights[-1] * scaled.unsqueeze(1)).transpose(1, 2)
    return kernel.reshape(*weight.shape[:-1], *size)


def outer(heights: list[Tensor]) -> Tensor:
    """Products over one or two axes, (n, cells of both axes, kernel_count)."""
    if len(heights) == 1:
        return heights[0]
    both = (heights[0].unsqueeze(2) * heights[1].unsqueeze(1)).flatten(1, 2)
    return zero_below(both, NEGLIGIBLE[both.dtype])


def grid_sum(heights: list[Tensor]) -> Tensor:
    """Sum over the grid of every element, (n, kernel_count): the grid factors, so does its sum."""
    total = heights[0].sum(1)
    for height in heights[1:]:
        total = total * height.sum(1)
    return total


def built(
    weight: Tensor,
    P: Tensor,
    SIG: Tensor | None,
    size: tuple[int, ...],
    version: str,
    margins: tuple[int, ...],
    derivatives: bool,
    owner: Tensor,
) -> Tensor:
    """The kernel; ``owner`` is what all layers of these positions have in common, for the cache."""
    if is_ordinary(weight) and is_fused(weight, P, size) and not any(margins):
        from .triton_kernel import dense  # here, since only CUDA builds of torch come with Triton

        return dense(weight, P, SIG, size, version)
    axes = crop(cached_elements(P, SIG, size, version, derivatives, owner).axes, margins)
    return combine(weight, [axis.height for axis in axes], version)


class DenseKernel(torch.autograd.Function):
    """``dense_kernel`` with a backward that reuses the heights, which the layers of a stage share."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, P: Tensor, SIG: Tensor | None, *arguments: Any) -> Tensor:  # type: ignore[override]
        ctx.size, ctx.version, ctx.margins, _, owner = arguments
        ctx.owner = weakref.ref(owner)  # no more than a key: what is on a leaf would make a circle
        ctx.save_for_backward(weight, P, SIG)
        return built(weight, P, SIG, *arguments)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        weight, P, SIG = ctx.saved_tensors
        if not torch.is_grad_enabled() and is_ordinary(grad) and is_fused(weight, P, ctx.size) and not any(ctx.margins):
            from .triton_kernel import gradients

            return *gradients(grad, weight, P, SIG, ctx.size, ctx.version), None, None, None, None, None
        # with gradients on (double backward) the heights need a graph, and cached ones have none
        if torch.is_grad_enabled():
            axes = axes_of_elements(P, SIG, ctx.size, ctx.version, derivatives=True)
        else:
            axes = cached_elements(P, SIG, ctx.size, ctx.version, derivatives=True, owner=ctx.owner()).axes
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
            None,
        )


def grad_along(grad: Tensor, axes: list[Axis], axis: int) -> Tensor:
    """Gradient (n, *size) of the kernel contracted with the heights along all other axes: (n, cells, count)."""
    grad = grad.movedim(axis + 1, 1)
    others = [other.height for a, other in enumerate(axes) if a != axis]
    if not others:
        return grad.unsqueeze(-1)
    return grad.flatten(2) @ outer(others)
