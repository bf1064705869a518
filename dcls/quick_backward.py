"""Give plain depthwise convolutions of a model the backward pass that DCLS layers have on a CPU."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from .convolution import convolve

LEAST_KERNEL = 7  # cells along an axis: torch's own backward is quicker for small kernels (3x3 measured)
ONE_CELL = (1, 1)  # on one thread, torch computes such a layer channel by channel


def use_quick_backward(model: nn.Module, where: Callable[[str, nn.Module], bool] | None = None) -> dict[str, nn.Conv2d]:
    """Speed up the training of depthwise ``nn.Conv2d`` layers of stride 1 in place; return them by name.

    ``where(name, module)`` picks among those with as many output as input channels and a kernel of 7 cells or more
    along an axis, or of one cell; all by default. They stay ``nn.Conv2d`` modules with the same parameters, state-dict
    keys and hooks. Outputs and gradients agree with torch's within the rounding of the dtype. On a GPU, and where
    gradients are off, they compute as before. A convolution of a class of its own is left alone. There may be none.
    """
    found: dict[str, nn.Conv2d] = {}
    for name, module in model.named_modules():
        if type(module) not in (nn.Conv2d, QuickBackwardConv2d) or (where is not None and not where(name, module)):
            continue
        if _is_quicker(module):
            module.__class__ = QuickBackwardConv2d
            found[name] = module
    return found


def _is_quicker(module: nn.Conv2d) -> bool:
    return (
        module.groups == module.in_channels == module.out_channels > 1
        and (module.kernel_size == ONE_CELL or max(module.kernel_size) >= LEAST_KERNEL)
        and set(module.stride) == set(module.dilation) == {1}
    )


class QuickBackwardConv2d(nn.Conv2d):
    """What ``use_quick_backward`` makes of a depthwise convolution of stride 1."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if input.device.type != "cpu" or not torch.is_grad_enabled():
            return super()._conv_forward(input, weight, bias)
        doubled = self._reversed_padding_repeated_twice  # of the last axis first
        if self.kernel_size == ONE_CELL and not any(doubled) and not torch.is_autocast_enabled("cpu"):
            product = input * weight.view(-1, 1, 1)
            return product if bias is None else product + bias.view(-1, 1, 1)
        pads = [(doubled[2], doubled[3]), (doubled[0], doubled[1])]
        return convolve(input, weight, bias, self.stride, pads, self.padding_mode, self.groups)
