"""The layers, with the arguments of the published package."""

import torch

from .base import DclsNd, Size, to_tuple


class Dcls1d(DclsNd):
    """One-dimensional DCLS: input (N, C, L), P and SIG (1, out, in // groups, kernel_count)."""

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
        dilated = to_tuple(dilated_kernel_size, 1, "dilated_kernel_size")
        super().__init__(
            in_channels,
            out_channels,
            kernel_count,
            stride,
            padding,
            (),
            dilated,
            dilated,
            groups,
            bias,
            padding_mode,
            version,
            device,
            dtype,
        )


class Dcls2d(DclsNd):
    """Two-dimensional DCLS: input (N, C, H, W), P and SIG (2, out, in // groups, kernel_count).

    ``use_implicit_gemm`` is taken, and ignored, because the published package has it.
    """

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
        dilated = to_tuple(dilated_kernel_size, 2, "dilated_kernel_size")
        super().__init__(
            in_channels,
            out_channels,
            kernel_count,
            stride,
            padding,
            (),
            dilated,
            dilated,
            groups,
            bias,
            padding_mode,
            version,
            device,
            dtype,
        )


class Dcls3d(DclsNd):
    """Three-dimensional DCLS: input (N, C, D, H, W), P and SIG (3, out, in // groups, kernel_count)."""

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
        dilated = to_tuple(dilated_kernel_size, 3, "dilated_kernel_size")
        super().__init__(
            in_channels,
            out_channels,
            kernel_count,
            stride,
            padding,
            (),
            dilated,
            dilated,
            groups,
            bias,
            padding_mode,
            version,
            device,
            dtype,
        )


class Dcls2_1d(DclsNd):
    """Two-dimensional, dense along H, learned along W: weight (out, in // groups, dense, kernel_count)."""

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
        dilated = to_tuple(dilated_kernel_size, 1, "dilated_kernel_size")
        dense = to_tuple(dense_kernel_size, 1, "dense_kernel_size")
        super().__init__(
            in_channels,
            out_channels,
            kernel_count,
            stride,
            padding,
            dense,
            dilated,
            (*dense, *dilated),
            groups,
            bias,
            padding_mode,
            version,
            device,
            dtype,
        )


class Dcls3_1d(DclsNd):
    """Three-dimensional, dense along D and H, learned along W: weight (out, in // groups, *dense, count)."""

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
        dilated = to_tuple(dilated_kernel_size, 1, "dilated_kernel_size")
        dense = to_tuple(dense_kernel_size, 2, "dense_kernel_size")
        super().__init__(
            in_channels,
            out_channels,
            kernel_count,
            stride,
            padding,
            dense,
            dilated,
            (*dense, *dilated),
            groups,
            bias,
            padding_mode,
            version,
            device,
            dtype,
        )


class Dcls2dK1d(DclsNd):
    """Two-dimensional with a kernel of one dimension, along H for ``flat_dim=0`` or W for ``flat_dim=1``."""

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
        dilated = to_tuple(dilated_kernel_size, 1, "dilated_kernel_size")
        super().__init__(
            in_channels,
            out_channels,
            kernel_count,
            stride,
            padding,
            (),
            dilated,
            (*dilated, 1) if flat_dim == 0 else (1, *dilated),
            groups,
            bias,
            padding_mode,
            version,
            device,
            dtype,
        )
