"""What all DCLS layers share: parameters, dense kernel, forward."""

import math
from typing import Any, ClassVar, Self, cast

import torch
from torch import Tensor, nn

from . import operators
from .cache import cached, forget, is_readable
from .convolution import convolve
from .elements import cached_elements, check_version, needs_derivatives
from .kernels import cropped_kernel, dense_kernel

Size = int | tuple[int, ...]
POSITION_STD = 0.5  # cells: the standard deviation of the first positions (arXiv 2309.13972, section 3)
CONVOLUTIONS: dict[int, type[nn.Conv1d] | type[nn.Conv2d] | type[nn.Conv3d]] = {
    1: nn.Conv1d,
    2: nn.Conv2d,
    3: nn.Conv3d,
}


def to_tuple(value: Size, dimensions: int, name: str) -> tuple[int, ...]:
    """Repeat a single number for every dimension; RuntimeError, in torch's words, for a wrong count of numbers."""
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    if len(values) not in (1, dimensions):
        raise RuntimeError(
            f"expected {name} to be a single integer value or a list of {dimensions} values to match the convolution "
            f"dimensions, but got {name}={list(values)}"
        )
    return values * dimensions if len(values) == 1 else values


def padding_per_side(padding: tuple[int, ...] | str, kernel_size: tuple[int, ...]) -> list[tuple[int, int]]:
    """Cells that padding adds before and after each axis; "same" adds the odd one after, as torch does."""
    if padding == "same":
        return [((size - 1) // 2, size // 2) for size in kernel_size]
    return [(0, 0)] * len(kernel_size) if isinstance(padding, str) else [(cells, cells) for cells in padding]


class DclsNd(nn.Module):
    """Convolution with learnable positions (arXiv 2112.03740, section 2) along some or all kernel axes.

    A layer class says how many kernel axes have learned positions, and how many before those are dense. weight is
    (out, in // groups, *dense_kernel_size, kernel_count); P and SIG have one more index in front, one for each learned
    axis, and are in cells. Arguments, shapes, initial values and state dicts are those of the published package 0.1.1.
    ``dcls.axis_of`` tells which kernel axis an index of P moves along.

    Input (N, C, *cells) or (C, *cells), any floating dtype. Raises what ``torch.nn.Conv1d`` to ``Conv3d`` raise
    for impossible arguments, and ValueError for an unknown version, a size of 0 or a count below 1.
    """

    learned_axes: ClassVar[int]
    dense_axes: ClassVar[int] = 0
    dense_kernel_size: tuple[int, ...] = ()  # layers with dense axes set it before they call ``__init__`` below

    SIG: nn.Parameter | None
    bias: nn.Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_count: int,
        stride: Size = 1,
        padding: Size | str = 0,
        dilated_kernel_size: Size = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        version: str = "gauss",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_version(version)
        if kernel_count < 1:
            raise ValueError(f"kernel_count must be a positive integer, but got {kernel_count}")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_count = kernel_count
        self.dilated_kernel_size = to_tuple(dilated_kernel_size, self.learned_axes, "dilated_kernel_size")
        self.kernel_size = self.whole_kernel_size()
        self.stride = to_tuple(stride, len(self.kernel_size), "stride")
        self.padding = padding if isinstance(padding, str) else to_tuple(padding, len(self.kernel_size), "padding")
        self.groups = groups
        self.padding_mode = padding_mode
        self.version = version
        self.plain_convolution(bias=False, device="meta")  # torch's own checks and messages, at no cost in memory
        if min(self.kernel_size) < 1:
            raise ValueError(f"dilated_kernel_size must be positive, but got {self.dilated_kernel_size}")
        self.pads = padding_per_side(self.padding, self.kernel_size)
        shape = (out_channels, in_channels // groups, *self.dense_kernel_size, kernel_count)
        self.weight = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
        shape = (self.learned_axes, *shape)
        self.P = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
        has_spread = version in ("gauss", "max")
        self.SIG = nn.Parameter(torch.empty(shape, device=device, dtype=dtype)) if has_spread else None
        self.bias = nn.Parameter(torch.empty(out_channels, device=device, dtype=dtype)) if bias else None
        self.reset_parameters()

    def whole_kernel_size(self) -> tuple[int, ...]:
        """Cells of the dense kernel along all its axes: dense ones first, then those with learned positions."""
        return (*self.dense_kernel_size, *self.dilated_kernel_size)

    def plain_convolution(self, bias: bool, **placement: Any) -> nn.Conv1d | nn.Conv2d | nn.Conv3d:
        """Torch's convolution with the arguments of this layer and the size of its dense kernel."""
        return CONVOLUTIONS[len(self.kernel_size)](
            self.in_channels,
            self.out_channels,
            cast(Any, self.kernel_size),
            cast(Any, self.stride),
            cast(Any, self.padding),
            groups=self.groups,
            bias=bias,
            padding_mode=cast(Any, self.padding_mode),
            **placement,
        )

    def reset_parameters(self) -> None:
        """Weights and bias as in torch's convolutions, positions normal(0, 0.5), SIG 0.23 (gauss) or 0."""
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(max(1, math.prod(self.weight.shape[1:])))
            nn.init.uniform_(self.bias, -bound, bound)
        nn.init.normal_(self.P, 0, POSITION_STD)
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
            kernel = operators.cached_kernel(*sources, self.dilated_kernel_size, self.version)
            kernel, pads = kernel.reshape(*self.weight.shape[:2], *self.kernel_size), self.pads
        elif torch.compiler.is_compiling() or torch.jit.is_tracing():
            kernel, pads = self.kernel(), self.pads
        elif learning:
            kernel, pads = self.kernel_and_pads()
        else:
            kernel, pads = cached(self.weight, sources, self.version, self.kernel_and_pads, by_version=True)
        return convolve(input, kernel, self.bias, self.stride, pads, self.padding_mode, self.groups)

    def kernel_and_pads(self) -> tuple[Tensor, list[tuple[int, int]]]:
        """Dense kernel and padding, both without the outer cells that no element touches, often most of the kernel."""
        simple = self.kernel_size == self.dilated_kernel_size and self.padding_mode == "zeros"
        if not simple or not is_readable(self.P) or self.P.dtype not in (torch.float32, torch.float64):
            return self.kernel(), self.pads
        derivatives = needs_derivatives(self.P, self.SIG)
        elements = cached_elements(self.P, self.SIG, self.dilated_kernel_size, self.version, derivatives)
        margins = tuple(max(0, min(m, *pad)) for m, pad in zip(elements.margins, self.pads, strict=True))
        kernel = cropped_kernel(self.weight, self.P, self.SIG, self.dilated_kernel_size, self.version, margins)
        pads = [(pad[0] - m, pad[1] - m) for m, pad in zip(margins, self.pads, strict=True)]
        return kernel, pads

    def train(self, mode: bool = True) -> Self:
        """As torch's. Clears the cached kernel too, since on a GPU writes through ``.data`` go unnoticed."""
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
