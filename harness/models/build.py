"""The systems' models: a timm backbone, an audio stem, and in place of its depthwise convolutions those asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import huggingface_hub
import timm
import torch
from timm.models import metaformer
from torch import nn

from dcls import Dcls2d, replace_depthwise
from harness.audio.units import STEM_KERNEL
from harness.base.errors import UserError
from harness.base.files import sha256_of
from harness.config.systems import PUBLISHED_KERNEL_SIZE, Dcls, Model
from harness.models.weights import CLASSIFIERS, difference, read_checkpoint, translated

TIMM_NAMES = {"convnext": "convnext_tiny", "convformer": "convformer_s18", "fastvit": "fastvit_sa24"}
IMAGENET = {  # timm's names of the weights; the paper trains FastViT from scratch
    "convnext": "convnext_tiny.fb_in1k",
    "convformer": "convformer_s18.sail_in1k",
    "fastvit": "fastvit_sa24.apple_in1k",
}
STEMS = {
    "convnext": "stem.0.",
    "convformer": "stem.conv.",
    "fastvit": "stem.",
}  # what the audio stem takes the place of


def build_model(settings: Model, classes: int) -> nn.Module:
    """A system's model (arXiv 2309.13972, section 3), freshly initialised from torch's global generator.

    Takes log-mel spectrograms, float32 (clips, 1, 128, frames); gives logits, float32 (clips, classes). The weights are
    random whatever settings.start says: see `start_weights`.
    """
    model = _backbone(settings, classes)
    _swap_stem(settings.backbone, model)
    if settings.dcls:
        _put_dcls(model, settings.dcls)
    elif settings.kernel_size != PUBLISHED_KERNEL_SIZE:
        _put_plain(model, settings.kernel_size)
    return model


def full_size(settings: Model) -> Model:
    """Of the paper's size, from scratch: what parameters and throughput are counted on."""
    return Model(
        backbone=settings.backbone, kernel_size=settings.kernel_size, dcls=settings.dcls, scale="full", drop_path=0.0
    )


def parameter_count(model: nn.Module) -> int:
    """Trainable parameters; shared ones count once."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


@torch.no_grad()
def start_weights(model: nn.Module, settings: Model) -> dict[str, Any]:
    """Load what settings.start names into a freshly built model; return the record of it for run.json.

    `random`: the model stays as it is. `imagenet`: the weights of IMAGENET, from settings.weights or else timm's
    repository on the Hugging Face hub, into everything but the stem's convolution (FastViT: the stem), the classifier
    and, in DCLS models, the replaced depthwise layers, which keep their own initial values: weights normal(0, 0.02),
    bias 0, drawn positions. A file that holds DCLS layers itself (ImageNet training with DCLS) fills these too. The
    layer scale is the file's, not settings.layer_scale.
    Raises UserError where the weights cannot be had, or where a tensor is left over or missing.
    """
    if settings.start == "random":
        return {"start": "random"}
    if settings.start != "imagenet":
        raise ValueError(f"start {settings.start!r} is no start of a training")
    family = settings.backbone
    path, source = (Path(settings.weights), settings.weights) if settings.weights else _from_hub(family)
    state, _ = read_checkpoint(path)
    with torch.device("meta"):  # names and shapes, and no random numbers drawn
        backbone = timm.create_model(TIMM_NAMES[family])
    state = translated(family, state, backbone)
    layers = tuple(f"{layer}." for layer, module in model.named_modules() if isinstance(module, Dcls2d))
    positions = bool(layers) and all(f"{layer}P" in state for layer in layers)
    own = (STEMS[family], f"{CLASSIFIERS[family]}.", *(() if positions else layers))
    wanted = {key: tensor for key, tensor in model.state_dict().items() if not key.startswith(own)}
    given = {key: tensor for key, tensor in state.items() if not key.startswith(own)}
    if problem := difference(given, wanted):
        raise UserError(f"{path}: not ImageNet weights of timm's {TIMM_NAMES[family]}: {problem}")
    for key, tensor in wanted.items():
        tensor.copy_(given[key])
    return {
        "start": "imagenet",
        "source": source,
        "sha256": sha256_of(path),
        "tensors_loaded": len(wanted),
        "tensors_own": len(model.state_dict()) - len(wanted),
    }


def _from_hub(family: str) -> tuple[Path, str]:
    """timm's ImageNet weights, downloaded or from the hub client's cache, and what they are called there."""
    repository = f"timm/{IMAGENET[family]}"
    try:
        path = huggingface_hub.hf_hub_download(repository, "model.safetensors")
    except Exception as error:  # the hub client raises many kinds; all mean that the weights are not here
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{repository}: ImageNet weights missing, neither in the Hugging Face cache nor to be had ({reason}); "
            "connect, name a file of them by the system's model.weights, or set its model.start to random"
        ) from error
    return Path(path), f"{repository}/model.safetensors"


def _backbone(settings: Model, classes: int) -> nn.Module:
    family = settings.backbone
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
    return timm.create_model(TIMM_NAMES[family], **arguments)


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


def _put_dcls(model: nn.Module, dcls: Dcls) -> None:
    replace_depthwise(
        model,
        dcls.kernel_count,
        dcls.dilated_kernel_size,
        version=dcls.version,
        where=is_replaced,
        share="stage",
        position_std=dcls.position_std,
    )
    if dcls.position_rate == 0:  # fixed spacings
        for layer in model.modules():
            if isinstance(layer, Dcls2d):
                for parameter in (layer.P, layer.SIG):
                    if parameter is not None:
                        parameter.requires_grad_(False)


def _put_plain(model: nn.Module, kernel_size: int) -> None:
    """Dense depthwise kernels of another size, drawn as those of DCLS are: weights normal(0, 0.02), biases 0."""
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.Conv2d) and is_replaced(name, module):
            channels, has_bias = module.in_channels, module.bias is not None
            convolution = nn.Conv2d(
                channels, channels, kernel_size, padding=kernel_size // 2, groups=channels, bias=has_bias
            )
            nn.init.normal_(convolution.weight, 0, 0.02)
            if convolution.bias is not None:
                nn.init.zeros_(convolution.bias)
            model.set_submodule(name, convolution)


def is_replaced(name: str, module: nn.Module, kernel_size: int = PUBLISHED_KERNEL_SIZE) -> bool:
    """Every 7x7 depthwise convolution with as many output as input channels (arXiv 2309.13972, section 3).

    `kernel_size`: of those that stand in their place.
    """
    return (
        isinstance(module, nn.Conv2d)
        and module.kernel_size == (kernel_size, kernel_size)
        and module.groups == module.in_channels == module.out_channels > 1
    )
