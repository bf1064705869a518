"""The layers, with the arguments of the published package."""

import torch
from torch import Tensor, nn

from .arguments import Size, to_tuple
from .base import DclsNd
from .construct import ConstructKernel, ConstructKernel2_1d, ConstructKernel3_1d


class _AllLearned(DclsNd):
    """The arguments of layers without dense axes."""

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
        centred: bool = False,
        causal: bool = False,
    ) -> None:
        ours = (device, dtype, centred, causal)
        placement = (stride, padding, dilated_kernel_size, False, 0, groups, bias, padding_mode, version)
        super().__init__(in_channels, out_channels, kernel_count, *placement, *ours)


class Dcls1d(_AllLearned):
    """One-dimensional DCLS: input (N, C, L), P and SIG (1, out, in // groups, kernel_count)."""

    learned_axes = 1


class Dcls2d(_AllLearned):
    """Two-dimensional DCLS: input (N, C, H, W), P and SIG (2, out, in // groups, kernel_count).

    ``use_implicit_gemm`` is accepted because the published package has it, and ignored.

    Examples
    --------
    >>> import dcls, torch
    >>> layer = dcls.Dcls2d(16, 16, kernel_count=26, dilated_kernel_size=23, padding=11, groups=16)
    >>> layer(torch.randn(2, 16, 64, 62)).shape
    torch.Size([2, 16, 64, 62])
    >>> layer.kernel().shape, layer.P.shape
    (torch.Size([16, 1, 23, 23]), torch.Size([2, 16, 1, 26]))
    """

    learned_axes = 2

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
        use_implicit_gemm: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        centred: bool = False,
        causal: bool = False,
    ) -> None:
        ours = (device, dtype, centred, causal)
        placement = (stride, padding, dilated_kernel_size, groups, bias, padding_mode, version)
        super().__init__(in_channels, out_channels, kernel_count, *placement, *ours)


class Dcls3d(_AllLearned):
    """Three-dimensional DCLS: input (N, C, D, H, W), P and SIG (3, out, in // groups, kernel_count)."""

    learned_axes = 3


class _DclsN_Md(DclsNd):
    """Kernels whose first axes are dense and whose last axis has learned positions; arguments as published."""

    learned_axes = 1

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_count: int,
        stride: Size,
        padding: Size | str,
        dense_kernel_size: Size,
        dilated_kernel_size: Size,
        transposed: bool,
        output_padding: Size,
        groups: int,
        bias: bool,
        padding_mode: str,
        version: str,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        causal: bool = False,
    ) -> None:
        dense = (dense_kernel_size,) if isinstance(dense_kernel_size, int) else tuple(dense_kernel_size)
        self.dense_kernel_size = to_tuple(dense, self.dense_axes or len(dense), "dense_kernel_size")
        ours = (device, dtype, False, causal)
        placement = (dilated_kernel_size, transposed, output_padding, groups, bias, padding_mode, version)
        super().__init__(in_channels, out_channels, kernel_count, stride, padding, *placement, *ours)

    def construct_kernel(self, version: str) -> ConstructKernel:
        """One more argument than without dense axes."""
        construct = ConstructKernel2_1d if len(self.dense_kernel_size) == 1 else ConstructKernel3_1d
        arguments = (self.out_channels, self.in_channels, self.groups, self.kernel_count)
        return construct(*arguments, self.dense_kernel_size, self.dilated_kernel_size, version)

    def reset_positions(self, positions: Tensor, size: int) -> None:
        """Uniform over the kernel, as published."""
        nn.init.uniform_(positions, -(size // 2), size // 2)


class _DenseThenLearned(_DclsN_Md):
    """The arguments of the layers that have such kernels."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_count: int,
        stride: Size = 1,
        padding: Size | str = 0,
        dense_kernel_size: Size = 1,
        dilated_kernel_size: Size = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        version: str = "gauss",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        causal: bool = False,
    ) -> None:
        sizes = (stride, padding, dense_kernel_size, dilated_kernel_size)
        placement = (*sizes, False, 0, groups, bias, padding_mode, version)
        super().__init__(in_channels, out_channels, kernel_count, *placement, device, dtype, causal)


class Dcls2_1d(_DenseThenLearned):
    """Two-dimensional, dense along H, learned along W: weight (out, in // groups, dense, kernel_count)."""

    dense_axes = 1


class Dcls3_1d(_DenseThenLearned):
    """Three-dimensional, dense along D and H, learned along W: weight (out, in // groups, *dense, kernel_count)."""

    dense_axes = 2


class Dcls2dK1d(_AllLearned):
    """Two-dimensional with a kernel of one dimension, along H for ``flat_dim=0`` or W for ``flat_dim=1``."""

    learned_axes = 1

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
        version: str = "v1",
        flat_dim: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        centred: bool = False,
        causal: bool = False,
    ) -> None:
        if flat_dim not in (0, 1):
            raise ValueError(f"flat_dim must be 0 or 1, but got {flat_dim}")
        self.flat_dim = flat_dim
        ours = (device, dtype, centred, causal)
        placement = (stride, padding, dilated_kernel_size, groups, bias, padding_mode, version)
        super().__init__(in_channels, out_channels, kernel_count, *placement, *ours)

    def whole_kernel_size(self) -> tuple[int, ...]:
        """One cell along the other axis."""
        return (*self.dilated_kernel_size, 1) if self.flat_dim == 0 else (1, *self.dilated_kernel_size)
