"""Convolution with large dense kernels, quick on a CPU where it is depthwise."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .kernels import without_autocast

Pads = Sequence[tuple[int, int]]  # cells before and after, per axis

PLAIN = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
SLOW_WIDTHS = range(10, 15)  # oneDNN takes two to four times as long for these as for WIDE (measured, AVX-512)
WIDE = 15
BLOCK = 2**17  # elements of input whose weight gradient is taken at once, so that they stay in cache
FFT_SIDE = 48  # maps of this height or width have their weight gradient by FFT, which is quicker there (measured)


def convolve(
    input: Tensor,
    kernel: Tensor,
    bias: Tensor | None,
    stride: tuple[int, ...],
    pads: Pads,
    padding_mode: str,
    groups: int,
) -> Tensor:
    """Convolution of input (N, C, *cells) or (C, *cells) with kernel (out, C // groups, *size).

    The same as torch's convolution, and raises what it raises; on a CPU, a depthwise one of stride 1 goes
    through ``DepthwiseConvolution``.
    """
    dimensions = len(pads)
    if padding_mode != "zeros" or any(before != after for before, after in pads):
        amounts = [amount for pad in reversed(pads) for amount in pad]
        input = F.pad(input, amounts, mode="constant" if padding_mode == "zeros" else padding_mode)
        pads = [(0, 0)] * dimensions
    padding = tuple(before for before, _ in pads)
    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        return PLAIN[dimensions](input, kernel, bias, stride, padding, 1, groups)
    if not input.is_meta and torch.is_autocast_enabled(input.device.type):
        dtype = torch.get_autocast_dtype(input.device.type)
        input, kernel, bias = input.to(dtype), kernel.to(dtype), None if bias is None else bias.to(dtype)
    with without_autocast(input):
        if not is_fast(input, kernel, stride, padding, groups):
            return PLAIN[dimensions](input, kernel, bias, stride, padding, 1, groups)
        if dimensions == 1:
            row = DepthwiseConvolution.apply(input.unsqueeze(2), kernel.unsqueeze(2), bias, (0, *padding))
            return row.squeeze(2)
        return DepthwiseConvolution.apply(input, kernel, bias, padding)


def is_fast(input: Tensor, kernel: Tensor, stride: tuple[int, ...], padding: tuple[int, ...], groups: int) -> bool:
    """Whether ``DepthwiseConvolution`` can take this convolution, and is worth it."""
    return (
        input.device.type == "cpu"
        and torch.backends.mkldnn.is_available()
        and input.dtype == kernel.dtype
        and input.dtype in (torch.float32, torch.bfloat16)
        and input.dim() == kernel.dim() in (3, 4)
        and groups == kernel.shape[0] == input.shape[1] > 1
        and kernel.shape[1] == 1
        and set(stride) == {1}
        and all(p < s <= n + 2 * p for p, s, n in zip(padding, kernel.shape[2:], input.shape[2:], strict=True))
        and input.numel() > 0
    )


class DepthwiseConvolution(torch.autograd.Function):
    """Depthwise convolution of stride 1 in channels_last, where oneDNN is many times faster on large kernels."""

    @staticmethod
    def forward(input: Tensor, kernel: Tensor, bias: Tensor | None, padding: tuple[int, int]) -> Tensor:
        return depthwise(input, kernel, bias, padding)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        input, kernel, _, ctx.padding = inputs
        ctx.save_for_backward(input, kernel)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        input, kernel = ctx.saved_tensors
        by_input = by_kernel = by_bias = None
        if ctx.needs_input_grad[0]:
            # itself a convolution: with the kernel turned around, about 1.5 times faster than oneDNN's own
            turned = tuple(s - 1 - p for s, p in zip(kernel.shape[2:], ctx.padding, strict=True))
            by_input = depthwise(grad, kernel.flip(2, 3), None, turned, like=input)
        if ctx.needs_input_grad[1]:
            by_kernel = kernel_gradient(input, grad, kernel.shape[2:], ctx.padding)
        if ctx.needs_input_grad[2]:
            by_bias = grad.sum((0, 2, 3))
        return by_input, by_kernel, by_bias, None


def depthwise(
    input: Tensor,
    kernel: Tensor,
    bias: Tensor | None,
    padding: Sequence[int],
    like: Tensor | None = None,
) -> Tensor:
    """Depthwise convolution in channels_last; the result has the memory format of ``like`` or the input."""
    output = convolve_last(input, kernel, bias, padding)
    return output.contiguous(memory_format=memory_format_of(input if like is None else like))


def convolve_last(input: Tensor, kernel: Tensor, bias: Tensor | None, padding: Sequence[int]) -> Tensor:
    """Depthwise convolution in channels_last, with columns of zeros beside a kernel of a slow width."""
    wider = -(-(WIDE - kernel.shape[3]) // 2) if kernel.shape[3] in SLOW_WIDTHS else 0
    kernel = F.pad(kernel, (wider, wider))
    last = input.contiguous(memory_format=torch.channels_last)
    return F.conv2d(last, kernel, bias, 1, (padding[0], padding[1] + wider), 1, kernel.shape[0])


def memory_format_of(input: Tensor) -> torch.memory_format:
    """channels_last where only the channels of (N, C, H, W) lie side by side, else contiguous."""
    if input.is_contiguous() or input.stride(1) != 1:
        return torch.contiguous_format
    return torch.channels_last


def kernel_gradient(input: Tensor, grad: Tensor, size: Sequence[int], padding: Sequence[int]) -> Tensor:
    """Gradient of a depthwise kernel, (C, 1, *size), from input (N, C, H, W) and output gradient.

    It is the correlation of the two, at shifts from ``-padding`` on. Shifts at which they do not meet are left
    out and have gradient 0.
    """
    before: list[int] = []
    kept: list[int] = []
    ahead: list[int] = []
    behind: list[int] = []
    for s, p, cells, outputs in zip(size, padding, input.shape[2:], grad.shape[2:], strict=True):
        first, end = max(0, p - outputs + 1), min(s, p + cells)
        before.append(p - first)
        kept.append(end - first)
        ahead.append(first)
        behind.append(s - end)
    by_fft = max(input.shape[2:]) >= FFT_SIDE
    correlate = correlate_by_fft if by_fft else correlate_by_convolution
    block = max(1, BLOCK // input[0].numel())
    total = correlate(input[:block], grad[:block], before, kept)
    for start in range(block, input.shape[0], block):
        total = total + correlate(input[start : start + block], grad[start : start + block], before, kept)
    return F.pad(total, (ahead[1], behind[1], ahead[0], behind[0])).unsqueeze(1).to(grad.dtype)


def correlate_by_convolution(input: Tensor, grad: Tensor, before: Sequence[int], kept: Sequence[int]) -> Tensor:
    """Sum over samples of the correlations at shifts ``-before`` to ``kept - before``, (C, *kept).

    Takes every channel of every sample as a channel of its own and the output gradient as its kernel.
    """
    (n, c, *cells), outputs = input.shape, grad.shape[2:]
    amounts: list[int] = []
    for cell, output, b, k in zip(cells, outputs, before, kept, strict=True):
        amounts = [b, k - 1 + output - cell - b, *amounts]
    channels = input.permute(2, 3, 0, 1).reshape(1, *cells, n * c).permute(0, 3, 1, 2)
    kernel = grad.reshape(n * c, 1, *outputs)
    return convolve_last(F.pad(channels, amounts), kernel, None, (0, 0)).reshape(n, c, *kept).sum(0)


def correlate_by_fft(input: Tensor, grad: Tensor, before: Sequence[int], kept: Sequence[int]) -> Tensor:
    """The same by the correlation theorem, in float32, with transforms just long enough not to wrap."""
    length = [
        fast_length(max(cells + b, outputs + k - b - 1))
        for cells, outputs, b, k in zip(input.shape[2:], grad.shape[2:], before, kept, strict=True)
    ]
    by_input = torch.fft.rfft2(input.float().contiguous(), s=length)
    by_grad = torch.fft.rfft2(grad.float().contiguous(), s=length)
    shifts = torch.fft.irfft2((by_input * by_grad.conj()).sum(0), s=length)
    return shifts.roll(tuple(before), (1, 2))[:, : kept[0], : kept[1]]


def fast_length(least: int) -> int:
    """Smallest length from ``least`` on that has no prime factor above 7."""
    length = least
    while True:
        rest = length
        for factor in (2, 3, 5, 7):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return length
        length += 1
