"""The paper's optimizer, parameter groups, learning-rate schedule and loss targets."""

from __future__ import annotations

import math

import numpy as np
import torch
from timm.optim import Lamb
from torch import Tensor, nn

from dcls import parameter_groups
from harness.config.params import Train
from harness.config.systems import System


def build_optimizer(model: nn.Module, system: System, train: Train) -> torch.optim.Optimizer:
    """AdamW, or LAMB (ConvFormer in the paper); eps 1e-8. Rates are set by `set_learning_rate`.

    Groups are those of `dcls.parameter_groups`, equal to the published ones (tests/data/param_groups.json); each keeps
    its factor on the scheduled rate as `lr_scale` (position_rate, in the paper 5, for P and SIG).
    """
    rate = {"position_rate": system.model.dcls.position_rate} if system.model.dcls else {}
    groups = parameter_groups(model, lr=1.0, weight_decay=train.weight_decay, **rate)
    groups = [group | {"lr_scale": group["lr"], "lr": 0.0} for group in groups]
    if system.schedule.optimizer == "lamb":
        return Lamb(groups, lr=0.0, eps=1e-8)
    return torch.optim.AdamW(groups, lr=0.0, eps=1e-8, fused=True)  # one pass: a quarter of the time on a CPU


def learning_rates(base: float, final: float, epochs: int, warmup_fraction: float, iterations: int) -> np.ndarray:
    """The rate of every iteration, float64 (epochs * iterations,): linear from 0 to base, then cosine to final.

    Agrees with the published schedule at every iteration (tests/data/schedule.json).
    """
    warmup = round(warmup_fraction * epochs * iterations)
    rest = epochs * iterations - warmup
    cosine = [final + 0.5 * (base - final) * (1 + math.cos(math.pi * step / rest)) for step in range(rest)]
    return np.concatenate([np.linspace(0.0, base, warmup), np.array(cosine)])


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate * group["lr_scale"]


def smooth(targets: Tensor, smoothing: float) -> Tensor:
    """t -> (1 - s) t + s / classes, on (clips, classes), before mixup."""
    return (1.0 - smoothing) * targets + smoothing / targets.shape[1]
