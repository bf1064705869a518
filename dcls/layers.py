"""The layers, with the arguments of the published package."""

import torch

from .base import DclsNd, Size, to_tuple


class Dcls1d(DclsNd):
    """One-dimensional DCLS: input (N, C, L), P and SIG (1, out, in // groups, kernel_count)."""

    learned_axes = 1


class Dcls2d(DclsNd):
    """Two-dimensional DCLS: input (N, C, H, W), P and SIG (2, out, in // groups, kernel_count).

    ``use_implicit_gemm`` is accepted because the published package has it, and ignored.
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
    ) -> None:
        sizes = (stride, padding, dilated_kernel_size)
        super().__init__(
            in_channels, out_channels, kernel_count, *sizes, groups, bias, padding_mode, version, device, dtype
        )


class Dcls3d(DclsNd):
    """Three-dimensional DCLS: input (N, C, D, H, W), P and SIG (3, out, in // groups, kernel_count)."""

    learned_axes = 3


class _DenseThenLearned(DclsNd):
    """Kernels whose first axes are dense and whose last axis has learned positions."""

    learned_axes = 1

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
    ) -> None:
        self.dense_kernel_size = to_tuple(dense_kernel_size, self.dense_axes, "dense_kernel_size")
        sizes = (stride, padding, dilated_kernel_size)
        super().__init__(
            in_channels, out_channels, kernel_count, *sizes, groups, bias, padding_mode, version, device, dtype
        )


class Dcls2_1d(_DenseThenLearned):
    """Two-dimensional, dense along H, learned along W: weight (out, in // groups, dense, kernel_count)."""

    dense_axes = 1


class Dcls3_1d(_DenseThenLearned):
    """Three-dimensional, dense along D and H, learned along W: weight (out, in // groups, *dense, kernel_count)."""

    dense_axes = 2


class Dcls2dK1d(DclsNd):
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
    ) -> None:
        if flat_dim not in (0, 1):
            raise ValueError(f"flat_dim must be 0 or 1, but got {flat_dim}")
        self.flat_dim = flat_dim
        sizes = (stride, padding, dilated_kernel_size)
        super().__init__(
            in_channels, out_channels, kernel_count, *sizes, groups, bias, padding_mode, version, device, dtype
        )

    def whole_kernel_size(self) -> tuple[int, ...]:
        """One cell along the other axis."""
        return (*self.dilated_kernel_size, 1) if self.flat_dim == 0 else (1, *self.dilated_kernel_size)
