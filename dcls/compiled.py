"""The quick convolution as operators that torch.compile calls as they are, instead of looking into them."""

from typing import Any

import torch
from torch import Tensor

from . import choice
from .depthwise import memory_format_of


@torch.library.custom_op("dcls::depthwise", mutates_args=())
def _depthwise(input: Tensor, kernel: Tensor, bias: Tensor | None, padding: list[int], last: bool) -> Tensor:
    layout = torch.channels_last if last else torch.contiguous_format
    # a result must not share memory with what went in
    return choice.convolve(input, kernel, bias, padding).contiguous(memory_format=layout)


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


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    input, kernel, _, ctx.padding, ctx.last = inputs
    ctx.save_for_backward(input, kernel)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    input, kernel = ctx.saved_tensors
    by_input = by_kernel = by_bias = None
    if ctx.needs_input_grad[0]:
        turned = [s - 1 - p for s, p in zip(kernel.shape[2:], ctx.padding, strict=True)]
        by_input = _depthwise(grad, kernel.flip(2, 3), None, turned, ctx.last)
    if ctx.needs_input_grad[1]:
        by_kernel = _kernel_gradient(input, grad, list(kernel.shape[2:]), ctx.padding)
    if ctx.needs_input_grad[2]:
        by_bias = grad.sum((0, 2, 3))
    return by_input, by_kernel, by_bias, None, None


_depthwise.register_autograd(_backward, setup_context=_keep)


def depthwise(input: Tensor, kernel: Tensor, bias: Tensor | None, padding: tuple[int, ...]) -> Tensor:
    """As ``DepthwiseConvolution``: input (N, C, H, W), kernel (C, 1, *size), the memory format of the input."""
    last = memory_format_of(input) is torch.channels_last
    return _depthwise(input, kernel, bias, list(padding), last)
