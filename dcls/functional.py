"""The layers' computation as a function of given parameters."""

from torch import Tensor

from .arguments import CONVOLUTIONS, Size, padding_per_side, to_tuple
from .convolution import convolve
from .kernels import dense_kernel


def dcls_convolution(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    P: Tensor,
    SIG: Tensor | None,
    dilated_kernel_size: Size,
    stride: Size = 1,
    padding: Size | str = 0,
    groups: int = 1,
    padding_mode: str = "zeros",
    version: str = "gauss",
) -> Tensor:
    """Convolve with the dense kernel of given elements: what a layer computes, without a layer.

    Parameters
    ----------
    input : (N, C, *cells)
    weight : (out, C // groups, *dense, kernel_count), with an axis for each axis of the kernel that is dense
    bias : (out,), or None
    P, SIG : (axes, *weight.shape), in cells; v1 and v0 need no SIG
    dilated_kernel_size, stride, padding, groups, padding_mode, version
        As in the layers.

    Returns
    -------
    (N, out, *outputs)

    Raises
    ------
    ValueError
        For an unknown version, or spreads that are missing.
    RuntimeError
        For shapes that do not fit, as torch's convolutions.

    Examples
    --------
    >>> import dcls, torch
    >>> weight, P = torch.ones(1, 1, 1), torch.full((1, 1, 1, 1), 1.0)
    >>> dcls.dcls_convolution(torch.arange(5.0)[None, None], weight, None, P, None, 3, padding=1, version="v0")
    tensor([[[1., 2., 3., 4., 0.]]])
    """
    size = to_tuple(dilated_kernel_size, len(P), "dilated_kernel_size")
    kernel = dense_kernel(weight, P, SIG, size, version)
    dimensions = kernel.dim() - 2
    if dimensions not in CONVOLUTIONS:
        raise RuntimeError(f"a kernel must have 1 to 3 axes, but weight {tuple(weight.shape)} and P give {dimensions}")
    strides = to_tuple(stride, dimensions, "stride")
    cells = padding if isinstance(padding, str) else to_tuple(padding, dimensions, "padding")
    pads = padding_per_side(cells, tuple(kernel.shape[2:]))
    return convolve(input, kernel, bias, strides, pads, padding_mode, groups)
