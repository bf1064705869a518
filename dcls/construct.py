"""``layer.DCK`` of the published package: a module that builds the dense kernel from weight, P and SIG."""

from typing import Any

import torch
from torch import Tensor, nn

from .elements import axis_of
from .kernels import dense_kernel


def placed(P: Tensor, size: tuple[int, ...], version: str, centred: bool) -> Tensor:
    """P counted from the centre of the kernel axis that each index moves along, if ``centred``.

    As published, index d counts from ``size[d] // 2`` whichever axis it moves along.
    """
    shifts = [size[axis] // 2 - size[d] // 2 for d, axis in enumerate(axis_of(version, len(size)))]
    if not centred or not any(shifts):
        return P
    return P + P.new_tensor(shifts).view(-1, *[1] * (P.dim() - 1))


class ConstructKernel(nn.Module):
    """Dense kernels of one layer; ``version`` decides how, and may be set at any time.

    Parameters
    ----------
    out_channels, in_channels, groups, kernel_count, dilated_kernel_size, version
        As in the layer.
    dense_kernel_size
        Cells of the axes without learned positions, before the others.
    centred
        As in the layer: ours, not in the published package.
    """

    version: str

    def __init__(
        self,
        out_channels: int,
        in_channels: int,
        groups: int,
        kernel_count: int,
        dilated_kernel_size: tuple[int, ...],
        version: str,
        dense_kernel_size: tuple[int, ...] = (),
        centred: bool = False,
    ) -> None:
        super().__init__()
        self.version = version
        self.out_channels = out_channels
        self.in_channels = in_channels
        self.groups = groups
        self.dilated_kernel_size = tuple(dilated_kernel_size)
        self.kernel_count = kernel_count
        self.dense_kernel_size = tuple(dense_kernel_size)
        self.centred = centred
        self._there = torch.empty(0, device="cpu")  # no buffer: it only follows the layer from device to device

    def forward(self, W: Tensor, P: Tensor, SIG: Tensor | None = None) -> Tensor:
        """Dense kernel of elements with weights W at positions P, with spreads SIG.

        Parameters
        ----------
        W : (out, in // groups, *dense_kernel_size, kernel_count)
        P, SIG : (axes, out, in // groups, *dense_kernel_size, kernel_count), in cells; v1 and v0 ignore SIG

        Returns
        -------
        (out, in // groups, *dense_kernel_size, *dilated_kernel_size)

        Raises
        ------
        ValueError
            For an unknown version, or spreads that are missing.
        """
        P = placed(P, self.dilated_kernel_size, self.version, self.centred)
        return dense_kernel(W, P, SIG, self.dilated_kernel_size, self.version)

    @property
    def lim(self) -> Tensor:
        """The size of the kernel, (axes, out, in // groups, kernel_count)."""
        size = torch.tensor(self.dilated_kernel_size, device=self._there.device).view(-1, 1, 1, 1)
        return size.expand(-1, self.out_channels, self.in_channels // self.groups, self.kernel_count)

    @property
    def IDX(self) -> Tensor:
        """Where each cell lies, axes counted from the last: (*size, *dense, axes, out, in // groups, kernel_count)."""
        axes = [torch.arange(size, device=self._there.device) for size in self.dilated_kernel_size]
        cells = torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], -1)
        ahead, last = cells.shape[:-1], cells.shape[-1]
        shape = (*ahead, *self.dense_kernel_size, last, self.out_channels, self.in_channels // self.groups)
        cells = cells.view(*ahead, *[1] * len(self.dense_kernel_size), last, 1, 1, 1)
        return cells.expand(*shape, self.kernel_count)

    def extra_repr(self) -> str:
        """The version, and the size of the kernel."""
        return f"version={self.version!r}, dilated_kernel_size={self.dilated_kernel_size}"

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        self._there = fn(self._there)
        return super()._apply(fn, recurse)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        """Nothing to load: some versions of the published package saved their grid, which is computed here."""


class ConstructKernel1d(ConstructKernel):
    """One learned axis."""


class ConstructKernel2d(ConstructKernel):
    """Two learned axes."""


class ConstructKernel3d(ConstructKernel):
    """Three learned axes."""


class _ConstructDense(ConstructKernel):
    """Dense axes before a learned one; ``dense_kernel_size`` comes before ``dilated_kernel_size``, as published."""

    def __init__(
        self,
        out_channels: int,
        in_channels: int,
        groups: int,
        kernel_count: int,
        dense_kernel_size: tuple[int, ...],
        dilated_kernel_size: tuple[int, ...],
        version: str,
    ) -> None:
        super().__init__(
            out_channels, in_channels, groups, kernel_count, dilated_kernel_size, version, dense_kernel_size
        )


class ConstructKernel2_1d(_ConstructDense):
    """One dense axis, then a learned one."""


class ConstructKernel3_1d(_ConstructDense):
    """Two dense axes, then a learned one."""
