"""Custom operators: what torch.compile calls as it is, instead of tracing into it.

Their schemas are written out, because torch 2.5 cannot infer one from ``list[int]``.
"""

from typing import Any

import torch
from torch import Tensor

from . import choice
from .backends import flipped_padding, memory_format_of
from .cache import cached
from .kernels import dense_kernel


def depthwise(input: Tensor, kernel: Tensor, bias: Tensor | None, padding: tuple[int, ...]) -> Tensor:
    """As ``DepthwiseConvolution``: input (N, C, H, W), kernel (C, 1, *size), the memory format of the input."""
    last = memory_format_of(input) is torch.channels_last
    return _depthwise(input, kernel, bias, list(padding), last)


def cached_kernel(weight: Tensor, P: Tensor, SIG: Tensor | None, size: tuple[int, ...], version: str) -> Tensor:
    """``dense_kernel`` without gradients, computed again only where a parameter has changed."""
    return _cached_kernel(weight, P, SIG, list(size), version)


KERNEL_SCHEMA = "(Tensor weight, Tensor P, Tensor? SIG, int[] size, str version) -> Tensor"


def _empty_kernel(weight: Tensor, P: Tensor, SIG: Tensor | None, size: list[int], version: str) -> Tensor:
    return weight.new_empty(*weight.shape[:-1], *size)


@torch.library.custom_op("dcls::cached_kernel", mutates_args=(), schema=KERNEL_SCHEMA)
def _cached_kernel(weight: Tensor, P: Tensor, SIG: Tensor | None, size: list[int], version: str) -> Tensor:
    def build() -> Tensor:
        return dense_kernel(weight, P, SIG, size, version)

    key = ("compiled", tuple(size), version)
    return cached(weight, (weight, P, SIG), key, build, by_version=True).clone()  # compiled code may write into it


@torch.library.custom_op("dcls::dense_kernel", mutates_args=(), schema=KERNEL_SCHEMA)
def _dense_kernel(weight: Tensor, P: Tensor, SIG: Tensor | None, size: list[int], version: str) -> Tensor:
    from .triton_kernel import dense  # here, since only CUDA builds of torch come with Triton

    return dense(weight, P, SIG, tuple(size), version)


_cached_kernel.register_fake(_empty_kernel)
_dense_kernel.register_fake(_empty_kernel)


@torch.library.custom_op(
    "dcls::dense_kernel_gradients",
    mutates_args=(),
    schema="(Tensor grad, Tensor weight, Tensor P, Tensor? SIG, int[] size, str version) -> (Tensor, Tensor, Tensor)",
)
def _gradients(
    grad: Tensor, weight: Tensor, P: Tensor, SIG: Tensor | None, size: list[int], version: str
) -> tuple[Tensor, Tensor, Tensor]:
    from .triton_kernel import gradients

    by_weight, by_P, by_SIG = gradients(grad, weight, P, SIG, tuple(size), version)
    return by_weight, by_P, weight.new_empty(0) if by_SIG is None else by_SIG  # an operator cannot return None


@_gradients.register_fake
def _(
    grad: Tensor, weight: Tensor, P: Tensor, SIG: Tensor | None, size: list[int], version: str
) -> tuple[Tensor, Tensor, Tensor]:
    contiguous = torch.contiguous_format
    by_weight, by_P = (torch.empty_like(like, memory_format=contiguous) for like in (weight, P))
    return by_weight, by_P, weight.new_empty(0) if SIG is None else torch.empty_like(P, memory_format=contiguous)


def _save_for_kernel_backward(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    weight, P, SIG, ctx.size, ctx.version = inputs
    ctx.save_for_backward(weight, P, SIG)


def _kernel_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    weight, P, SIG = ctx.saved_tensors
    by_weight, by_P, by_SIG = _gradients(grad, weight, P, SIG, ctx.size, ctx.version)
    return by_weight, by_P, None if SIG is None else by_SIG, None, None


_dense_kernel.register_autograd(_kernel_backward, setup_context=_save_for_kernel_backward)


@torch.library.custom_op(
    "dcls::depthwise",
    mutates_args=(),
    schema="(Tensor input, Tensor kernel, Tensor? bias, int[] padding, bool last) -> Tensor",
)
def _depthwise(input: Tensor, kernel: Tensor, bias: Tensor | None, padding: list[int], last: bool) -> Tensor:
    return choice.convolve(input, kernel, bias, padding, torch.channels_last if last else torch.contiguous_format)


@_depthwise.register_fake
def _(input: Tensor, kernel: Tensor, bias: Tensor | None, padding: list[int], last: bool) -> Tensor:
    cells = [n + 2 * p - s + 1 for n, s, p in zip(input.shape[2:], kernel.shape[2:], padding, strict=True)]
    layout = torch.channels_last if last else torch.contiguous_format
    return torch.empty(*input.shape[:2], *cells, dtype=input.dtype, device=input.device, memory_format=layout)


@torch.library.custom_op(
    "dcls::kernel_gradient",
    mutates_args=(),
    schema="(Tensor input, Tensor grad, int[] size, int[] padding) -> Tensor",
)
def _kernel_gradient(input: Tensor, grad: Tensor, size: list[int], padding: list[int]) -> Tensor:
    return choice.correlate(input, grad, size, padding).contiguous()


@_kernel_gradient.register_fake
def _(input: Tensor, grad: Tensor, size: list[int], padding: list[int]) -> Tensor:
    return grad.new_empty(input.shape[1], 1, *size)


def _save_for_convolution_backward(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    input, kernel, _, ctx.padding, ctx.last = inputs
    ctx.save_for_backward(input, kernel)


def _convolution_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    input, kernel = ctx.saved_tensors
    by_input = by_kernel = by_bias = None
    if ctx.needs_input_grad[0]:
        by_input = _depthwise(grad, kernel.flip(2, 3), None, list(flipped_padding(kernel, ctx.padding)), ctx.last)
    if ctx.needs_input_grad[1]:
        by_kernel = _kernel_gradient(input, grad, list(kernel.shape[2:]), ctx.padding)
    if ctx.needs_input_grad[2]:
        by_bias = grad.sum((0, 2, 3))
    return by_input, by_kernel, by_bias, None, None


_depthwise.register_autograd(_convolution_backward, setup_context=_save_for_convolution_backward)
