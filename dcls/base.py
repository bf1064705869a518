"""What all DCLS layers share: parameters, dense kernel, forward."""

import math
from typing import Any, Self, cast

import torch
from torch import Tensor, nn

from . import compiled
from .convolution import convolve
from .kernels import check_version, cropped_kernel, dense_kernel, shared_elements, wants_slopes
from .memory import forget, is_plain, remembered

Size = int | tuple[int, ...]
CONVOLUTIONS: dict[int, type[nn.Conv1d] | type[nn.Conv2d] | type[nn.Conv3d]] = {
    1: nn.Conv1d,
    2: nn.Conv2d,
    3: nn.Conv3d,
}


def to_tuple(value: Size, dimensions: int, name: str) -> tuple[int, ...]:
    """Repeat one number once per dimension; raise RuntimeError, in torch's words, where their count does not fit."""
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    if len(values) not in (1, dimensions):
        raise RuntimeError(
            f"expected {name} to be a single integer value or a list of {dimensions} values to match the convolution "
            f"dimensions, but got {name}={list(values)}"
        )
    return values * dimensions if len(values) == 1 else values


class DclsNd(nn.Module):
    """Convolution with learnable positions (arXiv 2112.03740, section 2) along some or all kernel axes.

    weight is (out, in // groups, *dense_kernel_size, kernel_count); P and SIG have one index more in front, for
    the learned axes, and are in cells. Arguments, shapes, initial values and state dicts are those of the
    published package 0.1.1. ``dcls.axis_of`` tells which kernel axis an index of P moves along.

    Input (N, C, *cells) or (C, *cells), any floating dtype. Raises what ``torch.nn.Conv1d`` to ``Conv3d`` raise
    for impossible arguments, and ValueError for an unknown version, a size of 0 or a count below 1.
    """

    SIG: nn.Parameter | None
    bias: nn.Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_count: int,
        stride: Size,
        padding: Size | str,
        dense_kernel_size: tuple[int, ...],
        dilated_kernel_size: tuple[int, ...],
        kernel_size: tuple[int, ...],
        groups: int,
        bias: bool,
        padding_mode: str,
        version: str,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
    ) -> None:
        super().__init__()
        check_version(version)
        if kernel_count < 1:
            raise ValueError(f"kernel_count must be a positive integer, but got {kernel_count}")
        dimensions = len(kernel_size)
        stride = to_tuple(stride, dimensions, "stride")
        padding = padding if isinstance(padding, str) else to_tuple(padding, dimensions, "padding")
        # torch's own checks and messages, at no cost in memory
        twin = CONVOLUTIONS[dimensions](
            in_channels,
            out_channels,
            cast(Any, kernel_size),
            cast(Any, stride),
            cast(Any, padding),
            1,
            groups,
            False,
            cast(Any, padding_mode),
            device="meta",
        )
        if min(kernel_size) < 1:
            raise ValueError(f"dilated_kernel_size must be positive, but got {dilated_kernel_size}")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_count = kernel_count
        self.stride = stride
        self.padding = padding
        self.dense_kernel_size = dense_kernel_size
        self.dilated_kernel_size = dilated_kernel_size
        self.kernel_size = kernel_size
        self.groups = groups
        self.padding_mode = padding_mode
        self.version = version
        doubled = twin._reversed_padding_repeated_twice
        self.pads = [(doubled[i], doubled[i + 1]) for i in range(0, len(doubled), 2)][::-1]
        shape = (out_channels, in_channels // groups, *dense_kernel_size, kernel_count)
        self.weight = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
        shape = (len(dilated_kernel_size), *shape)
        self.P = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
        has_spread = version in ("gauss", "max")
        self.SIG = nn.Parameter(torch.empty(shape, device=device, dtype=dtype)) if has_spread else None
        self.bias = nn.Parameter(torch.empty(out_channels, device=device, dtype=dtype)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weights and bias as in torch's convolutions, positions normal(0, 0.5), SIG 0.23 (gauss) or 0."""
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(max(1, math.prod(self.weight.shape[1:])))
            nn.init.uniform_(self.bias, -bound, bound)
        nn.init.normal_(self.P, 0, 0.5)
        if self.SIG is not None:
            nn.init.constant_(self.SIG, 0.23 if self.version == "gauss" else 0.0)
        self.clamp_parameters()

    @torch.no_grad()
    def clamp_parameters(self) -> None:
        """Bring index d of P back to within plus or minus ``dilated_kernel_size[d] // 2``."""
        for d, size in enumerate(self.dilated_kernel_size):
            self.P[d].clamp_(-(size // 2), size // 2)

    def kernel(self) -> Tensor:
        """Dense kernel, (out_channels, in_channels // groups, *kernel_size); carries gradients."""
        kernel = dense_kernel(self.weight, self.P, self.SIG, self.dilated_kernel_size, self.version)
        return kernel.reshape(*self.weight.shape[:2], *self.kernel_size)

    def forward(self, input: Tensor) -> Tensor:
        """Convolve input (N, C, *cells) with the dense kernel."""
        sources = (self.weight, self.P, self.SIG)
        learning = torch.is_grad_enabled() and any(s is not None and s.requires_grad for s in sources)
        if torch.compiler.is_dynamo_compiling() and not learning:
            kernel = compiled.remembered_kernel(*sources, self.dilated_kernel_size, self.version)
            kernel, pads = kernel.reshape(*self.weight.shape[:2], *self.kernel_size), self.pads
        elif torch.compiler.is_compiling() or torch.jit.is_tracing():
            kernel, pads = self.kernel(), self.pads
        elif learning:
            kernel, pads = self.kernel_and_pads()
        else:
            kernel, pads = remembered(self.weight, sources, self.version, self.kernel_and_pads, by_version=True)
        return convolve(input, kernel, self.bias, self.stride, pads, self.padding_mode, self.groups)

    def kernel_and_pads(self) -> tuple[Tensor, list[tuple[int, int]]]:
        """Dense kernel and padding, both without outer cells that no element touches: often most of them."""
        simple = self.kernel_size == self.dilated_kernel_size and self.padding_mode == "zeros"
        if not simple or not is_plain(self.P) or self.P.dtype not in (torch.float32, torch.float64):
            return self.kernel(), self.pads
        slopes = wants_slopes(self.P, self.SIG)
        elements = shared_elements(self.P, self.SIG, self.dilated_kernel_size, self.version, slopes)
        margins = tuple(max(0, min(m, *pad)) for m, pad in zip(elements.margins, self.pads, strict=True))
        kernel = cropped_kernel(self.weight, self.P, self.SIG, self.dilated_kernel_size, self.version, margins)
        pads = [(pad[0] - m, pad[1] - m) for m, pad in zip(margins, self.pads, strict=True)]
        return kernel, pads

    def train(self, mode: bool = True) -> Self:
        """As torch's; on a GPU, what was remembered is forgotten: there writes through ``.data`` are not noticed."""
        forget(self.weight)
        return super().train(mode)

    def extra_repr(self) -> str:
        """The arguments, as in the repr of torch's convolutions."""
        text = (
            f"{self.in_channels}, {self.out_channels}, kernel_count={self.kernel_count}, "
            f"stride={self.stride}, padding={self.padding!r}, dilated_kernel_size={self.dilated_kernel_size}, "
            f"groups={self.groups}, version={self.version!r}"
        )
        if self.dense_kernel_size:
            text += f", dense_kernel_size={self.dense_kernel_size}"
        if self.bias is None:
            text += ", bias=False"
        return text if self.padding_mode == "zeros" else f"{text}, padding_mode={self.padding_mode!r}"
