"""Backends: interchangeable ways to compute a depthwise convolution of stride 1 and the gradient of its kernel.

A backend is a pair of functions: ``convolve(input, kernel, bias, padding)`` gives (N, C, *outputs), and
``correlate(input, grad, size, padding)`` the gradient of the kernel, (C, 1, *size); input is (N, C, H, W), kernel
(C, 1, *size), bias (C,) or None.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from . import triton_ready

SLOW_WIDTHS = range(10, 15)  # oneDNN takes two to four times as long for these as for 15 (measured, AVX-512)
WIDE = 15
BLOCK = 2**17  # elements of input in one part of a kernel gradient, few enough to stay in cache


Convolve = Callable[[Tensor, Tensor, Tensor | None, Sequence[int]], Tensor]
Correlate = Callable[[Tensor, Tensor, Sequence[int], Sequence[int]], Tensor]


class Backend(NamedTuple):
    """One way to compute; its results may have either memory format."""

    convolve: Convolve
    correlate: Correlate
    can_run: Callable[[Tensor], bool]  # on this input
    differentiable: bool  # made of torch's operations, so that a backward of the backward works


def memory_format_of(input: Tensor) -> torch.memory_format:
    """channels_last where only the channels of (N, C, H, W) lie side by side, else contiguous."""
    if input.is_contiguous() or input.stride(1) != 1:
        return torch.contiguous_format
    return torch.channels_last


def flipped_padding(kernel: Tensor, padding: Sequence[int]) -> tuple[int, ...]:
    """Padding with which a convolution with the flipped kernel gives the gradient of the input."""
    return tuple(s - 1 - p for s, p in zip(kernel.shape[2:], padding, strict=True))


def _torch_contiguous(input: Tensor, kernel: Tensor, bias: Tensor | None, padding: Sequence[int]) -> Tensor:
    dtype = input.dtype
    input, kernel, bias = _in_float32(input, kernel, bias)
    output = F.conv2d(input.contiguous(), kernel.contiguous(), bias, 1, tuple(padding), 1, kernel.shape[0])
    return output.to(dtype)


def _torch_channels_last(input: Tensor, kernel: Tensor, bias: Tensor | None, padding: Sequence[int]) -> Tensor:
    """On a CPU, a kernel of a slow width gets columns of zeros on both sides."""
    dtype = input.dtype
    input, kernel, bias = _in_float32(input, kernel, bias)
    slow = input.device.type == "cpu" and kernel.shape[3] in SLOW_WIDTHS
    extra = -(-(WIDE - kernel.shape[3]) // 2) if slow else 0
    kernel = F.pad(kernel, (extra, extra))
    last = input.contiguous(memory_format=torch.channels_last)
    return F.conv2d(last, kernel, bias, 1, (padding[0], padding[1] + extra), 1, kernel.shape[0]).to(dtype)


def _in_float32(input: Tensor, kernel: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """The same, but 16 bits as float32 on a CPU.

    oneDNN 3.10 then takes about three quarters of the time (measured, AVX-512). In 16 bits it never returns for 16
    channels or fewer with a kernel of 15 columns or more and an output of 31 columns or more.
    """
    if input.device.type == "cpu" and input.dtype.itemsize == 2:
        return input.float(), kernel.float(), None if bias is None else bias.float()
    return input, kernel, bias


def _fft(input: Tensor, kernel: Tensor, bias: Tensor | None, padding: Sequence[int]) -> Tensor:
    outputs = [n + 2 * p - s + 1 for n, s, p in zip(input.shape[2:], kernel.shape[2:], padding, strict=True)]
    output = _shifts_by_fft(input, kernel.transpose(0, 1), padding, outputs, total=False)
    return (output if bias is None else output + bias.view(-1, 1, 1)).to(input.dtype)


def _triton_forward(rows: int) -> Convolve:
    def convolve(input: Tensor, kernel: Tensor, bias: Tensor | None, padding: Sequence[int]) -> Tensor:
        from .triton_convolution import convolve  # here, since only CUDA builds of torch come with Triton

        return convolve(input, kernel, bias, padding, rows)

    return convolve


def _torch_backward(layout: torch.memory_format) -> Correlate:
    def correlate(input: Tensor, grad: Tensor, size: Sequence[int], padding: Sequence[int]) -> Tensor:
        channels = input.shape[1]
        like = input.new_empty(()).expand(channels, 1, *size)
        moved = (part.contiguous(memory_format=layout) for part in (grad, input))
        wanted = [False, True, False]
        return torch.ops.aten.convolution_backward(
            *moved, like.contiguous(), None, [1, 1], list(padding), [1, 1], False, [0, 0], channels, wanted
        )[1]

    return correlate


def _by_shifts(add_up: Callable[..., Tensor]) -> Correlate:
    """The kernel's gradient as the correlation of input and output gradient, at shifts from ``-padding`` on.

    Shifts at which the two do not overlap have gradient 0 and are left out. Samples are added up in blocks.
    """

    def correlate(input: Tensor, grad: Tensor, size: Sequence[int], padding: Sequence[int]) -> Tensor:
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
        block = max(1, BLOCK // input[0].numel()) if input.device.type == "cpu" else input.shape[0]
        total = add_up(input[:block], grad[:block], before, kept)
        for start in range(block, input.shape[0], block):
            total = total + add_up(input[start : start + block], grad[start : start + block], before, kept)
        return F.pad(total, (ahead[1], behind[1], ahead[0], behind[0])).unsqueeze(1).to(grad.dtype)

    return correlate


def _shifts_by_convolution(input: Tensor, grad: Tensor, before: Sequence[int], kept: Sequence[int]) -> Tensor:
    """Sum over samples of the correlations at shifts ``-before`` to ``kept - before``, (C, *kept).

    Every channel of every sample becomes a channel of its own, with the output gradient as its kernel.
    """
    (n, c, *cells), outputs = input.shape, grad.shape[2:]
    amounts: list[int] = []
    for cell, output, b, k in zip(cells, outputs, before, kept, strict=True):
        amounts = [b, k - 1 + output - cell - b, *amounts]
    channels = input.permute(2, 3, 0, 1).reshape(1, *cells, n * c).permute(0, 3, 1, 2)
    kernel = grad.reshape(n * c, 1, *outputs)
    return _torch_channels_last(F.pad(channels, amounts), kernel, None, (0, 0)).reshape(n, c, *kept).sum(0)


def _shifts_by_fft(
    input: Tensor, other: Tensor, before: Sequence[int], kept: Sequence[int], total: bool = True
) -> Tensor:
    """The same by the correlation theorem, in float32, with transforms just long enough not to wrap.

    Without ``total``, each sample's own correlation, (N, C, *kept); ``other`` may have one sample for all.
    """
    length = [
        fast_length(max(cells + b, others + k - b - 1))
        for cells, others, b, k in zip(input.shape[2:], other.shape[2:], before, kept, strict=True)
    ]
    by_input = torch.fft.rfft2(input.float().contiguous(), s=length)
    by_other = torch.fft.rfft2(other.float().contiguous(), s=length)
    product = by_input * by_other.conj()
    shifts = torch.fft.irfft2(product.sum(0) if total else product, s=length)
    return shifts.roll(tuple(before), (-2, -1))[..., : kept[0], : kept[1]]


def fast_length(least: int) -> int:
    """Smallest length of at least ``least`` without a prime factor above 7."""
    length = least
    while True:
        rest = length
        for factor in (2, 3, 5, 7):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return length
        length += 1


def _triton_backward(rows: int) -> Correlate:
    def correlate(input: Tensor, grad: Tensor, size: Sequence[int], padding: Sequence[int]) -> Tensor:
        from .triton_convolution import correlate

        return correlate(input, grad, size, padding, rows)

    return correlate


def _torch_channels_last_backward(input: Tensor, grad: Tensor, size: Sequence[int], padding: Sequence[int]) -> Tensor:
    """On a CPU by convolution, since torch's own kernel gradient is slow there in both layouts."""
    on_cpu = input.device.type == "cpu"
    gradient = _by_shifts(_shifts_by_convolution) if on_cpu else _torch_backward(torch.channels_last)
    return gradient(input, grad, size, padding)


def _always(input: Tensor) -> bool:
    return True


BACKENDS: dict[str, Backend] = {
    "torch_channels_last": Backend(_torch_channels_last, _torch_channels_last_backward, _always, True),
    "fft": Backend(_fft, _by_shifts(_shifts_by_fft), _always, True),
    "torch_contiguous": Backend(_torch_contiguous, _torch_backward(torch.contiguous_format), _always, True),
    # an implicit matrix product on the tensor cores; the number is how many rows of the map one program computes
    "triton_64": Backend(_triton_forward(64), _triton_backward(64), triton_ready.can_run, False),
    "triton_128": Backend(_triton_forward(128), _triton_backward(128), triton_ready.can_run, False),
}
