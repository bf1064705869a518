"""Our weights in the layout of the authors' files, to test that these load."""

from __future__ import annotations

import re

from torch import Tensor

from harness.config.systems import PAPER

# Ours to the published names, in this order; `weights.translated` is the way back.
NAMES = {
    "convnext": (
        (r"^stem\.", "downsample_layers.0."),
        (r"^stages\.(\d)\.downsample\.", r"downsample_layers.\1."),
        (r"\.blocks\.", "."),
        (r"\.conv_dw\.", ".dwconv."),
        (r"\.mlp\.fc", ".pwconv"),
        (r"^head\.norm\.", "norm."),
        (r"^head\.fc\.", "head."),
    ),
    "convformer": (
        (r"^stem\.norm\.", "downsample_layers.0.post_norm."),
        (r"^stem\.", "downsample_layers.0."),
        (r"^stages\.(\d)\.downsample\.norm\.", r"downsample_layers.\1.pre_norm."),
        (r"^stages\.(\d)\.downsample\.", r"downsample_layers.\1."),
        (r"\.blocks\.", "."),
        (r"^head\.norm\.", "norm."),
        (r"^head\.fc\.", "head."),
    ),
    "fastvit": (
        (r"^stem\.", "patch_embed."),
        *((rf"^stages\.{stage}\.blocks\.", f"network.{place}.") for stage, place in enumerate((0, 2, 4, 7))),
        *((rf"^stages\.{stage}\.downsample\.", f"network.{2 * stage - 1}.") for stage in (1, 2, 3)),
        (r"^stages\.3\.pos_emb\.pos_enc\.", "network.6.pe."),
        (r"^final_conv\.", "conv_exp."),
        (r"\.mlp\.", ".convffn."),
        (r"\.conv_kxk\.", ".rbr_conv."),
        (r"\.conv_scale\.", ".rbr_scale."),
        (r"\.identity\.", ".rbr_skip."),
        (r"\.large_conv\.", ".lkb_origin."),
        (r"\.se\.fc1\.", ".se.reduce."),
        (r"\.se\.fc2\.", ".se.expand."),
        (r"(\.layer_scale(_\d)?)\.gamma$", r"\1"),
        (r"^head\.fc\.", "head."),
    ),
}


def to_published(name: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict of ours in the published layout; shared P and SIG stand under each of their names, as there."""
    family = PAPER[name][0]
    published = {}
    for key, tensor in state.items():
        for ours, theirs in NAMES[family]:
            key = re.sub(ours, theirs, key)
        if family == "convformer" and tensor.shape[2:] == (1, 1):  # linear layers there, 1x1 convolutions in timm
            tensor = tensor.flatten(1)
        published[key] = tensor
    return published
