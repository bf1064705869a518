"""Swap the depthwise convolutions of a model for DCLS layers, and DCLS layers for plain convolutions."""

import math
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from .arguments import CONVOLUTIONS, Size, to_tuple
from .base import POSITION_STD, DclsNd
from .layers import Dcls1d, Dcls2d, Dcls3d

PADDINGS: dict[int, Any] = {1: nn.ConstantPad1d, 2: nn.ConstantPad2d, 3: nn.ConstantPad3d}
LAYERS: dict[int, type[Dcls1d] | type[Dcls2d] | type[Dcls3d]] = {1: Dcls1d, 2: Dcls2d, 3: Dcls3d}


def replace_depthwise(
    model: nn.Module,
    kernel_count: int,
    dilated_kernel_size: Size,
    version: str = "gauss",
    where: Callable[[str, nn.Module], bool] | None = None,
    share: str | None = "stage",
    position_std: float = POSITION_STD,
) -> dict[str, DclsNd]:
    """Replace depthwise convolutions in place; return the new layers by name, in the order of the model.

    ``where(name, module)`` picks among the depthwise convolutions whose kernel has more than one cell; all by
    default. A convolution class with a forward of its own is never picked. Stride, groups, padding mode, dtype,
    device, output size and whether there is a bias stay the same. Weights start normal(0, 0.02), biases 0, positions
    normal(0, ``position_std``) in cells: with the published 0.5 all elements begin in the middle, with a fifth of the
    kernel's size they begin all over it.

    ``share="stage"``: consecutive layers share one P and one SIG, and a new pair starts where the channel count
    changes (arXiv 2309.13972, section 3). ``share="layer"``, or None: every layer has its own. Within a layer every
    channel always has its own positions.

    Raises ValueError for an unknown ``share``, a negative ``position_std``, if there is nothing to replace, or if no
    padding keeps the output size.

    Examples
    --------
    >>> import dcls
    >>> from torch import nn
    >>> model = nn.Sequential(nn.Conv2d(1, 8, 1), nn.Conv2d(8, 8, 7, padding=3, groups=8))
    >>> dcls.replace_depthwise(model, kernel_count=26, dilated_kernel_size=23)["1"].P.shape
    torch.Size([2, 8, 1, 26])
    """
    replaced = _replace(model, True, kernel_count, dilated_kernel_size, version, where, share, position_std)
    if not replaced:
        raise ValueError("there is no depthwise convolution to replace in this model")
    return replaced


def replace_convolutions(
    model: nn.Module,
    kernel_count: int,
    dilated_kernel_size: Size,
    version: str = "gauss",
    where: Callable[[str, nn.Module], bool] | None = None,
    share: str | None = "layer",
    position_std: float = POSITION_STD,
) -> dict[str, DclsNd]:
    """Replace convolutions of any number of groups in place, such as those of ResNet and YOLO.

    A dense layer has a position for each element of each pair of channels: ``kernel_count`` times three or five numbers
    a pair, which ``where`` should spare the widest layers.

    Parameters
    ----------
    model, kernel_count, dilated_kernel_size, version, position_std
        As in ``replace_depthwise``. Weights and biases start as in a layer.
    where
        ``where(name, module)`` picks among the convolutions whose kernel has more than one cell; all by default.
    share
        "layer" or None: every layer has its own positions; "stage": consecutive layers of the same shape share them.

    Returns
    -------
    dict
        The new layers by name, in the order of the model.

    Raises
    ------
    ValueError
        As ``replace_depthwise``.
    """
    replaced = _replace(model, False, kernel_count, dilated_kernel_size, version, where, share, position_std)
    if not replaced:
        raise ValueError("there is no convolution to replace in this model")
    return replaced


def _replace(
    model: nn.Module,
    depthwise: bool,
    kernel_count: int,
    dilated_kernel_size: Size,
    version: str,
    where: Callable[[str, nn.Module], bool] | None,
    share: str | None,
    position_std: float,
) -> dict[str, DclsNd]:
    if share not in ("stage", "layer", None):
        raise ValueError(f"share must be 'stage', 'layer' or None, but got share={share!r}")
    if not 0 <= position_std < math.inf:
        raise ValueError(f"position_std must be 0 or more cells, but got position_std={position_std}")
    replaced: dict[str, DclsNd] = {}
    made: dict[nn.Module, DclsNd] = {}  # one convolution may have two names
    previous: DclsNd | None = None
    is_candidate = is_depthwise if depthwise else is_convolution
    for name, module in list(model.named_modules(remove_duplicate=False)):
        if not name or not is_candidate(module) or (where is not None and not where(name, module)):
            continue
        if module not in made:
            layer = layer_like(cast(nn.Conv2d, module), kernel_count, dilated_kernel_size, version, name)
            with torch.no_grad():
                if depthwise:
                    nn.init.normal_(layer.weight, 0, 0.02)
                    if layer.bias is not None:
                        nn.init.zeros_(layer.bias)
                layer.P.mul_(position_std / POSITION_STD)  # the same draws, whatever their spread
            if share == "stage" and previous is not None and previous.P.shape == layer.P.shape:
                layer.P, layer.SIG = previous.P, previous.SIG
            made[module] = previous = layer
        model.set_submodule(name, made[module])
        replaced[name] = made[module]
    return replaced


def is_convolution(module: nn.Module) -> bool:
    """Whether this is a plain convolution of more than one kernel cell."""
    return (
        isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d))
        and type(module).forward in [convolution.forward for convolution in CONVOLUTIONS.values()]
        and max(module.kernel_size) > 1
    )


def is_depthwise(module: nn.Module) -> bool:
    """Whether this is such a convolution of one input channel per group."""
    return is_convolution(module) and (one := cast(nn.Conv2d, module)).groups == one.in_channels > 1


def layer_like(convolution: nn.Conv2d, kernel_count: int, dilated_kernel_size: Size, version: str, name: str) -> DclsNd:
    """DCLS layer with the channels, stride and output size of a convolution (of any number of dimensions)."""
    dimensions = len(convolution.kernel_size)
    size = to_tuple(dilated_kernel_size, dimensions, "dilated_kernel_size")
    layer = LAYERS[dimensions](
        convolution.in_channels,
        convolution.out_channels,
        kernel_count,
        convolution.stride,
        padding_like(convolution, size, name),
        size,
        convolution.groups,
        convolution.bias is not None,
        convolution.padding_mode,
        version,
        device=convolution.weight.device,
        dtype=convolution.weight.dtype,
    )
    return layer.train(convolution.training)


def padding_like(convolution: nn.Conv2d, size: tuple[int, ...], name: str) -> tuple[int, ...] | str:
    """Padding with which a kernel of another size gives the output size of ``convolution``."""
    if isinstance(convolution.padding, str) and convolution.padding == "same":
        return "same"
    old = (0,) * len(size) if isinstance(convolution.padding, str) else convolution.padding
    padding: list[int] = []
    same = True
    for d, s in enumerate(size):
        reach = convolution.dilation[d] * (convolution.kernel_size[d] - 1) + 1
        doubled = 2 * old[d] + s - reach
        same = same and 2 * old[d] == reach - 1 and convolution.stride[d] == 1
        padding.append(doubled // 2 if doubled >= 0 and doubled % 2 == 0 else -1)
    if min(padding) >= 0:
        return tuple(padding)
    if same:
        return "same"
    raise ValueError(f"no padding gives a kernel of size {size} the output size of {name}: {convolution}")


@torch.no_grad()
def fuse(model: nn.Module) -> nn.Module:
    """Replace every DCLS layer in place by a plain convolution with its dense kernel; return the model.

    Outputs stay the same; positions can no longer be learned. Causal layers, and others inside ``whole_positions``, get
    a padding module before the convolution. A model that is itself a DCLS layer is returned as a new module. On a CPU,
    convert the fused model and its input to ``torch.channels_last``: torch's own convolutions with large depthwise
    kernels are many times slower in the default memory format.

    Examples
    --------
    >>> import dcls
    >>> dcls.fuse(dcls.Dcls2d(8, 8, 26, dilated_kernel_size=23, padding=11, groups=8))
    Conv2d(8, 8, kernel_size=(23, 23), stride=(1, 1), padding=(11, 11), groups=8)
    """
    if isinstance(model, DclsNd):
        return fused(model)
    made: dict[nn.Module, nn.Module] = {}
    for name, module in list(model.named_modules(remove_duplicate=False)):
        if isinstance(module, DclsNd):
            if module not in made:
                made[module] = fused(module)
            model.set_submodule(name, made[module])
    return model


def fused(layer: DclsNd) -> nn.Module:
    """Plain convolution with the dense kernel and the bias of a DCLS layer, behind a padding of its own if need be.

    Inside ``whole_positions`` the empty columns at the ends of the kernel are left out.
    """
    kernel, pads, dimensions = layer.kernel(), layer.pads, len(layer.kernel_size)
    convolution = layer.plain_convolution(layer.bias is not None, device=layer.weight.device, dtype=layer.weight.dtype)
    padded = layer.causal
    if layer.whole and layer.padding_mode == "zeros":
        kernel, pads = without_empty_ends(kernel, pads)
        padded = any(before != after or before < 0 for before, after in pads)
        convolution = CONVOLUTIONS[dimensions](
            layer.in_channels,
            layer.out_channels,
            cast(Any, tuple(kernel.shape[2:])),
            cast(Any, layer.stride),
            cast(Any, 0 if padded else tuple(before for before, _ in pads)),
            groups=layer.groups,
            bias=layer.bias is not None,
            device=layer.weight.device,
            dtype=layer.weight.dtype,
        )
    convolution.weight.copy_(kernel)
    if layer.bias is not None and convolution.bias is not None:
        convolution.bias.copy_(layer.bias)
    if padded:
        convolution.padding = (0,) * dimensions
        amounts = tuple(cells for pad in reversed(pads) for cells in pad)  # negative ones crop
        return nn.Sequential(PADDINGS[dimensions](amounts, 0.0), convolution).train(layer.training)
    return convolution.train(layer.training)


def without_empty_ends(kernel: Tensor, pads: list[tuple[int, int]]) -> tuple[Tensor, list[tuple[int, int]]]:
    """Leave out the cells at both ends of each kernel axis that are 0 everywhere, and padding in their place."""
    fitted = []
    for axis, (before, after) in enumerate(pads, start=2):
        others = [a for a in range(kernel.dim()) if a != axis]
        used = kernel.abs().amax(others).nonzero().flatten().tolist() or [0]
        ahead, behind = used[0], kernel.shape[axis] - 1 - used[-1]
        kernel = kernel.narrow(axis, ahead, used[-1] - ahead + 1)
        fitted.append((before - ahead, after - behind))
    return kernel, fitted
