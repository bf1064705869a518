"""One-dimensional convolution between all channels by Fourier transforms: what networks of delays spend their time on.

In the frequency domain a kernel of any length is one matrix for each frequency, so 25 delays over 100 steps take about
a tenth of the operations. Kernels are as many as pairs of channels: matrix products transform them quicker than FFTs.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from .backends import fast_length

LEAST_KERNEL = 8  # cells: below, torch's own takes no longer
GAIN = 3  # times fewer operations than the direct sum, which runs faster an operation (measured, AVX-512)
MOST_SPECTRA = 2**26  # numbers in all spectra of a kernel: half a gigabyte

_spectra: WeakIdKeyDictionary = WeakIdKeyDictionary()  # of kernels that are cached themselves, and never change


def is_faster(samples: int, kernel: Sequence[int], length: int, constant: bool) -> bool:
    """Whether transforms are faster, for a kernel (out, in, size) over so many steps with their padding.

    The spectra of a ``constant`` kernel are only read.
    """
    outputs, inputs, size = kernel
    if size < LEAST_KERNEL or size > length:
        return False
    pairs, frequencies = outputs * inputs, length // 2 + 1
    products = 8 * samples * pairs * frequencies
    of_kernels = pairs * frequencies * (64 if constant else 64 + 4 * size)  # reading memory takes time too
    # torch's own backward to few channels is slow, so that transforms of the signals may cost twice as much there
    of_signals = (128 if constant else 64) * samples * (inputs + outputs) * length
    direct = 2 * samples * pairs * size * (length - size + 1)
    return pairs * frequencies <= MOST_SPECTRA and direct >= GAIN * (products + of_kernels + of_signals)


def convolve(input: Tensor, kernel: Tensor, bias: Tensor | None, padding: tuple[int, int], constant: bool) -> Tensor:
    """As ``torch.nn.functional.conv1d`` with padding before and after.

    Parameters
    ----------
    input : (N, C, steps), float32
    kernel : (out, C, size)
    constant
        Whether this kernel tensor will never change, so that its spectra may be remembered.
    """
    output: Tensor = SpectralConvolution.apply(input, kernel, padding, constant)
    return output if bias is None else output + bias.unsqueeze(1)


@functools.lru_cache(maxsize=64)
def _waves(size: int, length: int, device: torch.device) -> Tensor:
    """exp(2 pi i f k / length), (frequencies, size), as two real matrices one above the other."""
    with torch.inference_mode(False):
        steps = torch.arange(size, dtype=torch.float64)
        angles = torch.arange(length // 2 + 1, dtype=torch.float64).unsqueeze(1) * steps * (2 * math.pi / length)
        return torch.cat([angles.cos(), angles.sin()]).float().to(device)


def _spectra_of(kernel: Tensor, length: int) -> Tensor:
    """(frequencies, out, in), complex; conjugated, since a convolution layer correlates."""
    size, frequencies = kernel.shape[-1], length // 2 + 1
    parts = _waves(size, length, kernel.device) @ kernel.reshape(-1, size).t()
    return torch.complex(parts[:frequencies], parts[frequencies:]).view(frequencies, *kernel.shape[:2])


def _remembered_spectra(kernel: Tensor, length: int) -> Tensor:
    found = _spectra.setdefault(kernel, {})
    if length not in found:
        found.clear()  # of one length at a time: they are larger than the kernel
        found[length] = _spectra_of(kernel, length)
    return found[length]


def _spectra_of_signal(signal: Tensor, length: int) -> Tensor:
    """(frequencies, N, C) of (N, C, steps)."""
    return torch.fft.rfft(signal, length).permute(2, 0, 1).contiguous()


def _signal(spectra: Tensor, length: int, start: int, steps: int) -> Tensor:
    """(N, C, steps) from ``start`` on."""
    return torch.fft.irfft(spectra.permute(1, 2, 0).contiguous(), length)[..., start : start + steps]


class SpectralConvolution(torch.autograd.Function):
    """The convolution, with a backward in the frequency domain too."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, kernel: Tensor, padding: tuple[int, int], constant: bool) -> Tensor:  # type: ignore[override]
        steps, size = input.shape[-1] + sum(padding), kernel.shape[-1]
        length = fast_length(steps)
        padded = torch.nn.functional.pad(input, padding) if any(padding) else input
        of_input = _spectra_of_signal(padded, length)
        of_kernel = _remembered_spectra(kernel, length) if constant else _spectra_of(kernel, length)
        ctx.save_for_backward(input, kernel)
        ctx.spectra, ctx.length, ctx.padding = (of_input, of_kernel), length, padding
        return _signal(torch.bmm(of_input, of_kernel.transpose(1, 2)), length, 0, steps - size + 1).contiguous()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        input, kernel = ctx.saved_tensors
        (before, after), length = ctx.padding, ctx.length
        if torch.is_grad_enabled():  # a backward of the backward: torch's own operations
            padded = torch.nn.functional.pad(input, ctx.padding)
            wanted = [*ctx.needs_input_grad[:2], False]
            by_input, by_kernel, _ = torch.ops.aten.convolution_backward(
                grad, padded, kernel, None, [1], [0], [1], False, [0], 1, wanted
            )
            by_input = None if by_input is None else by_input[..., before : padded.shape[-1] - after]
            return by_input, by_kernel, None, None
        of_input, of_kernel = ctx.spectra
        of_grad = _spectra_of_signal(grad, length)
        by_input = by_kernel = None
        if ctx.needs_input_grad[0]:
            spectra = torch.bmm(
                of_grad.conj(), of_kernel
            ).conj()  # conjugating the kernel's would copy them, which are large
            by_input = _signal(spectra, length, before, input.shape[-1])
        if ctx.needs_input_grad[1]:
            products = torch.bmm(of_grad.mH, of_input).flatten(1)  # (frequencies, out x in)
            waves = _waves(kernel.shape[-1], length, kernel.device)
            waves = torch.complex(waves[: len(products)], waves[len(products) :])
            # every frequency but 0, and half the length, stands for two
            waves[1 : (length + 1) // 2] *= 2
            by_kernel = (products.t() @ waves).real.div(length).reshape(kernel.shape)
        return by_input, by_kernel, None, None
