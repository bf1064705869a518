"""Parameters and multiply-accumulates of the full-size models, counted without computing anything."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import dcls
from harness.config.systems import CLASS_COUNTS, Model
from harness.models import build as models

INPUT = (1, 128, 1001)  # channel, mel bands, frames: 10 seconds


@dataclass(frozen=True)
class Counts:
    """Trainable parameters by number of classes; `macs` of a clip, with every dense kernel whole, and
    `macs_dense_kernels` of building these kernels, once a forward pass whatever the batch."""

    parameters: dict[int, int]
    macs: int
    macs_dense_kernels: int


@cache
def counts(settings: Model) -> Counts:
    """Counts, at full size, of an eval-mode forward pass with a head of 527 classes, on tensors without content."""
    found = {}
    for classes in CLASS_COUNTS:
        with torch.device("meta"):
            built = models.build_model(full_size_of(settings), classes).eval()
        found[classes] = models.parameter_count(built)
        if classes == CLASS_COUNTS[0]:
            both = macs(built)
            convolved = macs(dcls.fuse(built))
    return Counts(found, convolved, both - convolved)


def full_size_of(settings: Model) -> Model:
    """At full size, with learned positions: fixed ones are numbers of the model all the same."""
    if settings.dcls:
        settings = settings.model_copy(update={"dcls": settings.dcls.model_copy(update={"position_rate": 1.0})})
    return models.full_size(settings)


def macs(model: nn.Module) -> int:
    """Multiply-accumulates of a forward pass of one clip: half of the operations that PyTorch counts.

    That counts matrix products and convolutions, not what works element by element.
    """
    device = next(model.parameters()).device
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.empty(1, *INPUT, device=device).normal_())
    return int(counter.get_total_flops()) // 2
