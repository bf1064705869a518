"""What torch.compile calls as operators of its own, instead of looking into them."""

from typing import Any

import torch
from torch import Tensor

from . import choice
from .depthwise import memory_format_of, turned
from .kernels import dense_kernel
from .memory import remembered


def depthwise(input: Tensor, kernel: Tensor, bias: Tensor | None, padding: tuple[int, ...]) -> Tensor:
    """As ``DepthwiseConvolution``: input (N, C, H, W), kernel (C, 1, *size), the memory format of the input."""
    last = memory_format_of(input) is torch.channels_last
    return _depthwise(input, kernel, bias, list(padding), last)


def remembered_kernel(weight: Tensor, P: Tensor, SIG: Tensor | None, size: tuple[int, ...], version: str) -> Tensor:
    """``dense_kernel`` without gradients, computed again only where a parameter has changed."""
    return _remembered_kernel(weight, P, SIG, list(size), version)


@torch.library.custom_op("dcls::remembered_kernel", mutates_args=())
def _remembered_kernel(weight: Tensor, P: Tensor, SIG: Tensor | None, size: list[int], version: str) -> Tensor:
    def build() -> Tensor:
        return dense_kernel(weight, P, SIG, size, version)

    key = ("compiled", tuple(size), version)
    return remembered(weight, (weight, P, SIG), key, build, by_version=True).clone()  # compiled code may write into it


@_remembered_kernel.register_fake
def _(weight: Tensor, P: Tensor, SIG: Tensor | None, size: list[int], version: str) -> Tensor:
    return weight.new_empty(*weight.shape[:-1], *size)


@torch.library.custom_op("dcls::dense_kernel", mutates_args=())
def _dense_kernel(weight: Tensor, P: Tensor, SIG: Tensor | None, size: list[int], version: str) -> Tensor:
    from .triton_kernel import dense  # imported where it runs: Triton comes only with CUDA builds of torch

    return dense(weight, P, SIG, tuple(size), version)


@_dense_kernel.register_fake
def _(weight: Tensor, P: Tensor, SIG: Tensor | None, size: list[int], version: str) -> Tensor:
    return weight.new_empty(*weight.shape[:-1], *size)


@torch.library.custom_op("dcls::dense_kernel_gradients", mutates_args=())
def _gradients(
    grad: Tensor, weight: Tensor, P: Tensor, SIG: Tensor | None, size: list[int], version: str
) -> tuple[Tensor, Tensor, Tensor]:
    from .triton_kernel import gradients

    by_weight, by_P, by_SIG = gradients(grad, weight, P, SIG, tuple(size), version)
    return by_weight, by_P, weight.new_empty(0) if by_SIG is None else by_SIG  # an operator always has all its results


@_gradients.register_fake
def _(
    grad: Tensor, weight: Tensor, P: Tensor, SIG: Tensor | None, size: list[int], version: str
) -> tuple[Tensor, Tensor, Tensor]:
    contiguous = torch.contiguous_format
    by_weight, by_P = (torch.empty_like(like, memory_format=contiguous) for like in (weight, P))
    return by_weight, by_P, weight.new_empty(0) if SIG is None else torch.empty_like(P, memory_format=contiguous)


def _keep_elements(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    weight, P, SIG, ctx.size, ctx.version = inputs
    ctx.save_for_backward(weight, P, SIG)


def _to_elements(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    weight, P, SIG = ctx.saved_tensors
    by_weight, by_P, by_SIG = _gradients(grad, weight, P, SIG, ctx.size, ctx.version)
    return by_weight, by_P, None if SIG is None else by_SIG, None, None


_dense_kernel.register_autograd(_to_elements, setup_context=_keep_elements)


@torch.library.custom_op("dcls::depthwise", mutates_args=())
def _depthwise(input: Tensor, kernel: Tensor, bias: Tensor | None, padding: list[int], last: bool) -> Tensor:
    return choice.convolve(input, kernel, bias, padding, torch.channels_last if last else torch.contiguous_format)


@_depthwise.register_fake
def _(input: Tensor, kernel: Tensor, bias: Tensor | None, padding: list[int], last: bool) -> Tensor:
    cells = [n + 2 * p - s + 1 for n, s, p in zip(input.shape[2:], kernel.shape[2:], padding, strict=True)]
    layout = torch.channels_last if last else torch.contiguous_format
    return torch.empty(*input.shape[:2], *cells, dtype=input.dtype, device=input.device, memory_format=layout)


@torch.library.custom_op("dcls::kernel_gradient", mutates_args=())
def _kernel_gradient(input: Tensor, grad: Tensor, size: list[int], padding: list[int]) -> Tensor:
    return choice.correlate(input, grad, size, padding).contiguous()


@_kernel_gradient.register_fake
def _(input: Tensor, grad: Tensor, size: list[int], padding: list[int]) -> Tensor:
    return grad.new_empty(input.shape[1], 1, *size)


def _keep_maps(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    input, kernel, _, ctx.padding, ctx.last = inputs
    ctx.save_for_backward(input, kernel)


def _to_maps(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    input, kernel = ctx.saved_tensors
    by_input = by_kernel = by_bias = None
    if ctx.needs_input_grad[0]:
        by_input = _depthwise(grad, kernel.flip(2, 3), None, list(turned(kernel, ctx.padding)), ctx.last)
    if ctx.needs_input_grad[1]:
        by_kernel = _kernel_gradient(input, grad, list(kernel.shape[2:]), ctx.padding)
    if ctx.needs_input_grad[2]:
        by_bias = grad.sum((0, 2, 3))
    return by_input, by_kernel, by_bias, None, None


_depthwise.register_autograd(_to_maps, setup_context=_keep_maps)
