"""Convolution with large dense kernels, fast where it is depthwise."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from . import choice, operators, spectral
from .backends import flipped_padding, memory_format_of
from .cache import is_transformed
from .kernels import without_autocast

Pads = Sequence[tuple[int, int]]  # cells before and after, per axis

PLAIN = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
FAST_DTYPES = {"cpu": DTYPES if torch.backends.mkldnn.is_available() else (), "cuda": DTYPES}


def convolve(
    input: Tensor,
    kernel: Tensor,
    bias: Tensor | None,
    stride: tuple[int, ...],
    pads: Pads,
    padding_mode: str,
    groups: int,
    constant: bool = False,
) -> Tensor:
    """Convolution of input (N, C, *cells) or (C, *cells) with kernel (out, C // groups, *size).

    The same as torch's convolution, with the same errors; a depthwise one of stride 1 is computed by the backend that
    ``use_convolution`` says. ``constant`` says that this kernel tensor never changes.
    """
    dimensions = len(pads)
    if padding_mode == "zeros" and is_spectral(input, kernel, bias, stride, pads, groups, constant):
        return spectral.convolve(input, kernel, bias, pads[0], constant)
    if padding_mode != "zeros" or any(before != after for before, after in pads):
        amounts = [amount for pad in reversed(pads) for amount in pad]
        input = F.pad(input, amounts, mode="constant" if padding_mode == "zeros" else padding_mode)
        pads = [(0, 0)] * dimensions
    padding = tuple(before for before, _ in pads)
    compiling = torch.compiler.is_dynamo_compiling()  # by torch.compile; an exported graph gets torch's operators only
    if torch.jit.is_tracing() or (torch.compiler.is_compiling() and not compiling):
        return PLAIN[dimensions](input, kernel, bias, stride, padding, 1, groups)
    if not input.is_meta and torch.is_autocast_enabled(input.device.type):
        dtype = torch.get_autocast_dtype(input.device.type)
        input, kernel, bias = input.to(dtype), kernel.to(dtype), None if bias is None else bias.to(dtype)
    with without_autocast(input):
        transformed = not compiling and is_transformed(input, kernel, bias)  # of torch.func, forward mode, fake tensors
        if transformed or not has_backends(input, kernel, stride, padding, groups):
            return PLAIN[dimensions](input, kernel, bias, stride, padding, 1, groups)
        depthwise = operators.depthwise if compiling else quick_depthwise
        if dimensions == 1:
            row = depthwise(input.unsqueeze(2), kernel.unsqueeze(2), bias, (0, *padding))
            return row.squeeze(2)
        return depthwise(input, kernel, bias, padding)


def is_spectral(
    input: Tensor,
    kernel: Tensor,
    bias: Tensor | None,
    stride: tuple[int, ...],
    pads: Pads,
    groups: int,
    constant: bool = False,
) -> bool:
    """Whether ``dcls.spectral`` computes this convolution: between all channels over time, where that is faster."""
    return (
        input.dim() == kernel.dim() == 3
        and groups == stride[0] == 1
        and input.dtype == kernel.dtype == torch.float32
        and input.device.type == kernel.device.type == "cpu"
        and input.shape[1] == kernel.shape[1]
        and input.numel() > 0
        and choice.may_transform()
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
        and not torch.is_autocast_enabled("cpu")
        and min(pads[0]) >= 0
        and spectral.is_faster(input.shape[0], kernel.shape, input.shape[-1] + sum(pads[0]), constant)
        and not is_transformed(input, kernel, bias)
    )


def has_backends(input: Tensor, kernel: Tensor, stride: tuple[int, ...], padding: tuple[int, ...], groups: int) -> bool:
    """Whether this convolution is one that ``dcls.backends`` computes."""
    return (
        input.dtype in FAST_DTYPES.get(input.device.type, ())
        and input.dtype == kernel.dtype
        and input.dim() == kernel.dim() in (3, 4)
        and groups == kernel.shape[0] == input.shape[1] > 1
        and kernel.shape[1] == 1
        and set(stride) == {1}
        and all(0 <= p < s <= n + 2 * p for p, s, n in zip(padding, kernel.shape[2:], input.shape[2:], strict=True))
        and input.numel() > 0
    )


def quick_depthwise(input: Tensor, kernel: Tensor, bias: Tensor | None, padding: tuple[int, ...]) -> Tensor:
    """Input (N, C, H, W); with a backward where gradients are on."""
    if not torch.is_grad_enabled():
        return choice.convolve(input, kernel, bias, padding, memory_format_of(input))
    output: Tensor = DepthwiseConvolution.apply(input, kernel, bias, padding)
    return output


class DepthwiseConvolution(torch.autograd.Function):
    """Depthwise convolution of stride 1; the output has the memory format of the input."""

    @staticmethod  # without setup_context, for which torch looks up a signature at every call, as slow as a small layer
    def forward(  # type: ignore[override]
        ctx: Any, input: Tensor, kernel: Tensor, bias: Tensor | None, padding: tuple[int, int]
    ) -> Tensor:
        ctx.save_for_backward(input, kernel)
        ctx.padding = padding
        return choice.convolve(input, kernel, bias, padding, memory_format_of(input))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        input, kernel = ctx.saved_tensors
        by_input = by_kernel = by_bias = None
        if ctx.needs_input_grad[0]:
            # a convolution with the flipped kernel, about 1.5 times faster than oneDNN's own backward
            padding = flipped_padding(kernel, ctx.padding)
            by_input = choice.convolve(grad, kernel.flip(2, 3), None, padding, memory_format_of(input))
        if ctx.needs_input_grad[1]:
            by_kernel = choice.correlate(input, grad, kernel.shape[2:], ctx.padding)
        if ctx.needs_input_grad[2]:
            by_bias = grad.sum((0, 2, 3))
        return by_input, by_kernel, by_bias, None
