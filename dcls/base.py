"""What all DCLS layers share: parameters, dense kernel, forward."""

import math
from typing import Any, ClassVar, TypeVar, cast

import torch
from torch import Tensor, nn

from . import operators
from .arguments import CONVOLUTIONS, Size, padding_per_side, to_tuple, warn_once
from .cache import cached, forget, in_forward_mode, is_readable
from .construct import ConstructKernel, ConstructKernel1d, ConstructKernel2d, ConstructKernel3d, placed
from .convolution import convolve
from .elements import SPREAD_VERSIONS, axis_of, cached_elements, check_version, needs_derivatives
from .kernels import cropped_kernel

POSITION_STD = 0.5  # cells: the standard deviation of the first positions (arXiv 2309.13972, section 3)
CONSTRUCT: dict[int, type[ConstructKernel]] = {1: ConstructKernel1d, 2: ConstructKernel2d, 3: ConstructKernel3d}
Layer = TypeVar("Layer", bound="DclsNd")  # Python 3.10 has no Self


class DclsNd(nn.Module):
    """Convolution with learnable positions (arXiv 2112.03740, section 2) along some or all kernel axes.

    A layer class says how many kernel axes have learned positions, and how many before those are dense. weight is
    (out, in // groups, *dense_kernel_size, kernel_count); P and SIG have one more index in front, one for each learned
    axis, and are in cells. Arguments, shapes, initial values and state dicts are those of the published package 0.1.1,
    where this class is called ``_DclsNd``. ``dcls.axis_of`` tells which kernel axis an index of P moves along.

    Parameters
    ----------
    in_channels, out_channels, kernel_count, stride, padding, dilated_kernel_size, groups, bias, padding_mode, version
        As in the layers.
    transposed, output_padding
        As published: ``transposed`` swaps the first two axes of the parameters, for a forward of your own.
    centred
        Whether positions count from the middle of the axis that they move along, and are clamped to it. As published,
        a rectangular kernel takes both from the other axis, and a narrow one is out of reach: it starts all 0.
    causal
        Whether the input gets ``dilated_kernel_size - 1`` cells of zeros before its last axis, and none after, so that
        an output sees no later input. ``padding`` of that axis is then 0. ``dcls.Stream`` steps through such a layer.

    Input (N, C, *cells) or (C, *cells), any floating dtype. Raises what ``torch.nn.Conv1d`` to ``Conv3d`` raise
    for impossible arguments, and ValueError for an unknown version, a size of 0 or a count below 1.
    """

    learned_axes: ClassVar[int | None] = None  # as many as there are sizes, for a subclass as in the published package
    dense_axes: ClassVar[int] = 0
    dense_kernel_size: tuple[int, ...] = ()  # layers with dense axes set it before they call ``__init__`` below
    whole: bool = False  # inside ``dcls.whole_positions``

    DCK: ConstructKernel
    SIG: nn.Parameter | None
    bias: nn.Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_count: int,
        stride: Size,
        padding: Size | str,
        dilated_kernel_size: Size,
        transposed: bool,
        output_padding: Size,
        groups: int,
        bias: bool,
        padding_mode: str,
        version: str,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        centred: bool = False,
        causal: bool = False,
    ) -> None:
        super().__init__()
        check_version(version)
        if kernel_count < 1:
            raise ValueError(f"kernel_count must be a positive integer, but got {kernel_count}")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_count = kernel_count
        sizes = (dilated_kernel_size,) if isinstance(dilated_kernel_size, int) else tuple(dilated_kernel_size)
        self.dilated_kernel_size = to_tuple(sizes, self.learned_axes or len(sizes), "dilated_kernel_size")
        self.kernel_size = self.whole_kernel_size()
        self.stride = to_tuple(stride, len(self.kernel_size), "stride")
        self.padding = padding if isinstance(padding, str) else to_tuple(padding, len(self.kernel_size), "padding")
        self.transposed = transposed
        self.output_padding = to_tuple(output_padding, len(self.kernel_size), "output_padding")
        self.groups = groups
        self.padding_mode = padding_mode
        self.centred = centred
        self.causal = causal
        self.plain_convolution(bias=False, device="meta")  # torch's own checks and messages, at no cost in memory
        if min(self.kernel_size) < 1:
            raise ValueError(f"dilated_kernel_size must be positive, but got {self.dilated_kernel_size}")
        if causal and (isinstance(self.padding, str) or self.padding[-1] or padding_mode != "zeros"):
            raise ValueError(
                f"causal=True pads the last axis itself, with zeros, but got padding={padding!r}, {padding_mode=}"
            )
        self.DCK = self.construct_kernel(version)
        self._warn_of_traps()
        channels = (in_channels, out_channels // groups) if transposed else (out_channels, in_channels // groups)
        shape = (*channels, *self.dense_kernel_size, kernel_count)
        self.weight = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
        shape = (len(self.dilated_kernel_size), *shape)
        self.P = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
        # None is registered too, so that the name is there for whoever sets it later
        spread = torch.empty(shape, device=device, dtype=dtype) if version in SPREAD_VERSIONS else None
        self.register_parameter("SIG", None if spread is None else nn.Parameter(spread))
        offset = torch.empty(out_channels, device=device, dtype=dtype) if bias else None
        self.register_parameter("bias", None if offset is None else nn.Parameter(offset))
        self.DCK.to(self.weight.device)
        self.reset_parameters()

    def whole_kernel_size(self) -> tuple[int, ...]:
        """Cells of the dense kernel along all its axes: dense ones first, then those with learned positions."""
        return (*self.dense_kernel_size, *self.dilated_kernel_size)

    def construct_kernel(self, version: str) -> ConstructKernel:
        """What becomes ``DCK``."""
        arguments = (self.out_channels, self.in_channels, self.groups, self.kernel_count)
        return CONSTRUCT[len(self.dilated_kernel_size)](
            *arguments, self.dilated_kernel_size, version, centred=self.centred
        )

    def _warn_of_traps(self) -> None:
        size, axes = self.dilated_kernel_size, axis_of(self.version, len(self.dilated_kernel_size))
        if set(size) == {1}:
            warn_once("dilated_kernel_size=1 is the default, as published, and leaves positions nowhere to go")
        if not self.centred and any(size[axis] != cells for axis, cells in zip(axes, size, strict=True)):
            warn_once(
                f"dilated_kernel_size={size}: as in the published package, positions count from the middle of the other"
                " axis, so parts of this kernel are out of reach, or all of it; centred=True places them right"
            )

    @property
    def version(self) -> str:
        """What ``DCK.version`` says. Setting it here changes no kernel, as in the published package."""
        return self.DCK.version

    @version.setter
    def version(self, value: str) -> None:
        check_version(value)
        self._said_version = value

    @property
    def pads(self) -> list[tuple[int, int]]:
        """Cells of padding before and after each axis."""
        pads = padding_per_side(self.padding, self.kernel_size)
        return [*pads[:-1], (self.kernel_size[-1] - 1, 0)] if self.causal else pads

    @property
    def _reversed_padding_repeated_twice(self) -> tuple[int, ...]:
        return tuple(cells for pad in reversed(self.pads) for cells in pad)

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
        with torch.no_grad():
            for positions, size in zip(self.P, self.dilated_kernel_size, strict=True):
                self.reset_positions(positions, size)
        if self.SIG is not None:
            nn.init.constant_(self.SIG, 0.23 if self.version == "gauss" else 0.0)
        self.clamp_parameters()

    def reset_positions(self, positions: Tensor, size: int) -> None:
        """Draw one index of P at a time, as published: how torch draws depends on how many numbers."""
        nn.init.normal_(positions, 0, POSITION_STD)

    def reach(self) -> tuple[int, ...]:
        """How far from 0 each index of P may be, in cells: ``dilated_kernel_size[d] // 2``, or of its own axis."""
        size = self.dilated_kernel_size
        axes = axis_of(self.version, len(size)) if self.centred else range(len(size))
        return tuple(size[axis] // 2 for axis in axes)

    @torch.no_grad()
    def clamp_parameters(self) -> None:
        """Bring every index of P back to within plus or minus its ``reach()``."""
        for d, reach in enumerate(self.reach()):
            self.P[d].clamp_(-reach, reach)

    def kernel(self) -> Tensor:
        """Dense kernel, (out_channels, in_channels // groups, *kernel_size); carries gradients."""
        return self._kernel(self.weight, self.P, self.SIG)

    def _kernel(self, weight: Tensor, P: Tensor, SIG: Tensor | None) -> Tensor:
        return self.DCK(weight, P, SIG).reshape(*weight.shape[:2], *self.kernel_size)

    def forward(self, input: Tensor) -> Tensor:
        """Convolve input (N, C, *cells) with the dense kernel."""
        return self._conv_forward(input, self.weight, self.bias, self.P, self.SIG)

    def _conv_forward(
        self, input: Tensor, weight: Tensor, bias: Tensor | None, P: Tensor, SIG: Tensor | None = None
    ) -> Tensor:
        """As ``forward``, with these parameters in the place of the layer's own; the published name."""
        return self.convolve_padded(input, weight, bias, P, SIG, self.pads)

    def convolve_padded(
        self,
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        P: Tensor,
        SIG: Tensor | None,
        pads: list[tuple[int, int]],
    ) -> Tensor:
        """The same, with these cells of padding before and after each axis."""
        if self.transposed:
            raise NotImplementedError("transposed=True is for a forward of your own, as in the published package")
        version, size = self.version, self.dilated_kernel_size
        if self.__dict__.get("_said_version", version) != version:
            warn_once(
                f"layer.version was set to {self._said_version!r}, but layer.DCK.version is {version!r}, and alone "
                "decides, as in the published package"
            )
        SIG = SIG if version in SPREAD_VERSIONS else None
        sources = (weight, P, SIG)
        learning = torch.is_grad_enabled() and any(s is not None and s.requires_grad for s in sources)

        def build() -> tuple[Tensor, list[tuple[int, int]]]:
            return self._kernel_and_pads(weight, P, SIG, pads)

        if not self._has_own_kernel():
            kernel = self._kernel(weight, P, SIG)
        elif torch.compiler.is_dynamo_compiling() and not learning:
            kernel = operators.cached_kernel(weight, placed(P, size, version, self.centred), SIG, size, version)
            kernel = kernel.reshape(*weight.shape[:2], *self.kernel_size)
        elif torch.compiler.is_compiling() or torch.jit.is_tracing() or in_forward_mode():
            kernel = self._kernel(weight, P, SIG)
        elif learning:
            kernel, pads = build()
        else:
            kernel, pads = cached(weight, sources, (version, tuple(pads)), build, by_version=True)
            return convolve(input, kernel, bias, self.stride, pads, self.padding_mode, self.groups, constant=True)
        return convolve(input, kernel, bias, self.stride, pads, self.padding_mode, self.groups)

    def _has_own_kernel(self) -> bool:
        """Whether ``DCK`` is as it was made: neither of a class with a forward of its own, nor with hooks."""
        construct = self.DCK
        hooked = construct._forward_hooks or construct._forward_pre_hooks
        return type(construct).forward is ConstructKernel.forward and not hooked

    def kernel_and_pads(self) -> tuple[Tensor, list[tuple[int, int]]]:
        """Dense kernel and padding, both without the outer cells that no element touches, often most of the kernel."""
        return self._kernel_and_pads(self.weight, self.P, self.SIG, self.pads)

    def _kernel_and_pads(
        self, weight: Tensor, P: Tensor, SIG: Tensor | None, pads: list[tuple[int, int]]
    ) -> tuple[Tensor, list[tuple[int, int]]]:
        size, version = self.dilated_kernel_size, self.version
        simple = self.kernel_size == size and self.padding_mode == "zeros" and any(min(pad) > 0 for pad in pads)
        if not simple or not is_readable(P) or P.dtype not in (torch.float32, torch.float64):
            return self._kernel(weight, P, SIG), pads
        P = placed(P, size, version, self.centred)
        elements = cached_elements(P, SIG, size, version, needs_derivatives(P, SIG))
        margins = tuple(max(0, min(m, *pad)) for m, pad in zip(elements.margins, pads, strict=True))
        kernel = cropped_kernel(weight, P, SIG, size, version, margins)
        pads = [(pad[0] - m, pad[1] - m) for m, pad in zip(margins, pads, strict=True)]
        return kernel, pads

    def train(self: Layer, mode: bool = True) -> Layer:
        """As torch's. Clears the cached kernel too, since on a GPU writes through ``.data`` go unnoticed."""
        forget(self.weight)
        return super().train(mode)

    def __repr__(self) -> str:
        """One line, without ``DCK``, which says nothing more."""
        return f"{self._get_name()}({self.extra_repr()})"

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
        text += "".join(f", {name}=True" for name in ("centred", "causal") if getattr(self, name))
        return text if self.padding_mode == "zeros" else f"{text}, padding_mode={self.padding_mode!r}"
