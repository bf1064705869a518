"""The six systems of the paper: a timm backbone, an audio stem, and for the DCLS ones the replaced convolutions."""

from __future__ import annotations

from typing import Any

import timm
import torch
from timm.models import metaformer
from torch import nn

from dcls import replace_depthwise
from harness.errors import UserError
from harness.params import Dcls, Model

BACKBONES = {"convnext": "convnext_tiny", "convformer": "convformer_s18", "fastvit": "fastvit_sa24"}
STEM_KERNEL = (2, 16)  # frequency, time: paper.md, "Audio stem"


def family_of(model: str) -> str:
    """`convnext`, `convformer` or `fastvit`."""
    return model.split("_")[0]


def is_dcls(model: str) -> bool:
    return "_dcls_" in model


def build_model(name: str, settings: Model, dcls: Dcls, classes: int) -> nn.Module:
    """One of the six systems (arXiv 2309.13972, section 3), freshly initialised from torch's global generator.

    Takes log-mel spectrograms, float32 (clips, 1, 128, frames); gives logits, float32 (clips, classes).
    Raises UserError where ImageNet weights are asked for and cannot be had.
    """
    model = _backbone(family_of(name), settings, classes)
    _swap_stem(family_of(name), model)
    if is_dcls(name):
        replace_depthwise(
            model, dcls.kernel_count, dcls.dilated_kernel_size, version=dcls.version, where=_is_replaced, share="stage"
        )
    return model


# The paper's size, from scratch: what parameters and throughput are counted on. Drop path does nothing in eval mode.
FULL_SIZE = Model(scale="full", optimizer="adamw", epochs=1, learning_rate=0.0, drop_path=0.0)


def parameter_count(model: nn.Module) -> int:
    """Trainable parameters; shared ones count once."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def _backbone(family: str, settings: Model, classes: int) -> nn.Module:
    arguments: dict[str, Any] = {"num_classes": classes, "drop_path_rate": settings.drop_path}
    if settings.layer_scale is not None:
        key = {
            "convnext": "ls_init_value",
            "fastvit": "layer_scale_init_value",
            "convformer": "layer_scale_init_values",
        }
        arguments[key[family]] = settings.layer_scale
    if settings.depths is not None and settings.widths is not None:  # given at scale reduced, and only there
        if family == "convformer":  # timm's convformer_s18() fixes its sizes, so its class is called
            return metaformer.MetaFormer(
                depths=settings.depths,
                dims=settings.widths,
                token_mixers=metaformer.SepConv,
                norm_layers=metaformer.LayerNorm2dNoBias,
                **arguments,
            )
        keys = ("depths", "dims") if family == "convnext" else ("layers", "embed_dims")
        arguments |= dict(zip(keys, (settings.depths, settings.widths), strict=True))
    if not settings.imagenet:
        return timm.create_model(BACKBONES[family], **arguments)
    try:
        return timm.create_model(BACKBONES[family], pretrained=True, **arguments)
    except Exception as error:  # the hub client raises many kinds; all mean that the weights are not here
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"imagenet: the weights of timm's {BACKBONES[family]} cannot be had ({reason}); "
            "put them into the Hugging Face cache, or set per_model.*.imagenet to false"
        ) from error


def _swap_stem(family: str, model: Any) -> None:
    """Put the paper's one-channel patch convolution in place of the image stem's first convolution.

    In FastViT the one convolution replaces the whole stem; in the others the stem's norm stays.
    """
    if family == "convnext":
        model.stem[0] = nn.Conv2d(1, model.stem[0].out_channels, STEM_KERNEL, STEM_KERNEL)
        nn.init.trunc_normal_(model.stem[0].weight, std=0.02)
        nn.init.zeros_(model.stem[0].bias)
        return
    channels = model.stem.conv.out_channels if family == "convformer" else model.stages[0].blocks[0].mlp.fc1.in_channels
    convolution = nn.Conv2d(1, channels, STEM_KERNEL, STEM_KERNEL, bias=False)
    nn.init.trunc_normal_(convolution.weight, std=0.02)
    if family == "convformer":
        model.stem.conv = convolution
    else:
        model.stem = convolution


def _is_replaced(name: str, module: nn.Module) -> bool:
    """Every 7x7 depthwise convolution with as many output as input channels (paper.md, "Replaced by DCLS")."""
    return isinstance(module, nn.Conv2d) and module.kernel_size == (7, 7) and module.in_channels == module.out_channels


def device_of() -> torch.device:
    """CUDA where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
