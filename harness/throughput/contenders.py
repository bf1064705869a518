"""A full-size model made ready to be timed under a condition: a step is one forward pass or one optimizer step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from timm.models.fastvit import RepConditionalPosEnc
from timm.utils import reparameterize_model
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

import dcls
from harness.config.params import Params
from harness.config.systems import Model, Schedule, System
from harness.counting.operations import INPUT
from harness.models import build as models
from harness.models import precision
from harness.throughput.condition import QUICK, Condition
from harness.training.recipe import build_optimizer, set_learning_rate

DROP_PATH = 0.4  # the paper's
LEARNING_RATE = 1e-6  # where the paper's schedule ends: on random clips a model trained faster would run away
# the paper's
OPTIMIZERS: dict[str, Literal["adamw", "lamb"]] = {"convnext": "adamw", "convformer": "lamb", "fastvit": "adamw"}
POSITIONS = "spread over the kernel"


@dataclass(frozen=True)
class Contender:
    """A model and its step; `fusion` says in words what fusing did to it."""

    model: nn.Module
    step: Callable[[], object]
    fusion: str


def prepare(
    model: Model,
    condition: Condition,
    params: Params,
    device: torch.device,
    change: Callable[[nn.Module], nn.Module] = lambda model: model,
) -> Contender:
    """Build a model at full size, and its step; the same weights and clips each time.

    Sets this process's switches of precision. `change` may put other layers into the model before its optimizer is
    made, to compare with.
    """
    precision.exact_float32(condition.precision != "tf32")
    torch.manual_seed(0)
    settings = models.full_size(model).model_copy(update={"drop_path": DROP_PATH})
    with device:  # drawing the weights of a full-size model takes a CPU a second
        built = models.build_model(settings, condition.classes).train(condition.mode == "training")
        spread_positions(built)
    if condition.baseline_depthwise == QUICK:
        dcls.use_quick_backward(built)
    built = change(built)
    fusion = fuse(settings, built) if condition.fused else ""
    layout = torch.channels_last if condition.channels_last else torch.contiguous_format
    built = built.to(device, memory_format=layout)  # type: ignore[call-overload]
    clips = torch.randn(condition.batch, *INPUT, device=device).contiguous(memory_format=layout)
    forward = torch.compile(built, dynamic=False) if condition.compiled else built
    if condition.mode == "inference":
        return Contender(built, _inference(forward, clips, condition), fusion)
    targets = (torch.rand(condition.batch, condition.classes, device=device) < 0.01).float()
    schedule = Schedule(optimizer=OPTIMIZERS[settings.backbone], epochs=1, learning_rate=LEARNING_RATE)
    optimizer = build_optimizer(built, System(model=settings, schedule=schedule), params.train)
    set_learning_rate(optimizer, LEARNING_RATE)
    return Contender(built, _training(built, forward, optimizer, clips, targets, condition), fusion)


@torch.no_grad()
def spread_positions(model: nn.Module) -> None:
    """Draw all elements anywhere in their kernels, where training may take them.

    Fresh ones lie near the centre, and on a CPU `dcls` leaves out the empty cells around them.
    """
    for layer in model.modules():
        if isinstance(layer, dcls.DclsNd):
            for positions, size in zip(layer.P, layer.dilated_kernel_size, strict=True):
                positions.uniform_(-(size // 2), size // 2)


def fuse(settings: Model, model: nn.Module) -> str:
    """Fold an eval-mode model in place as far as its libraries can; say what was done."""
    done = []
    if settings.dcls:
        dcls.fuse(model)
        done.append("dense kernels")
    if any(hasattr(module, "reparameterize") for module in model.modules()):
        for module in model.modules():
            if isinstance(module, RepConditionalPosEnc):  # adds the identity to a kernel of this size
                module.spatial_shape = (module.pos_enc.kernel_size[0], module.pos_enc.kernel_size[1])
        reparameterize_model(model, inplace=True)
        done.append("timm's reparameterization")
    return " and ".join(done) or "nothing to fuse"


def _inference(forward: Any, clips: Tensor, condition: Condition) -> Callable[[], object]:
    def step() -> Tensor:
        with torch.inference_mode(), precision.autocast(condition.precision, clips.device):
            return forward(clips)

    return step


def _training(
    model: nn.Module,
    forward: Any,
    optimizer: torch.optim.Optimizer,
    clips: Tensor,
    targets: Tensor,
    condition: Condition,
) -> Callable[[], object]:
    """The recipe's step: forward, loss, backward, optimizer, positions clamped."""
    scaler = torch.amp.GradScaler(clips.device.type, enabled=condition.precision == "fp16")

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with precision.autocast(condition.precision, clips.device):
            logits = forward(clips)
        loss = binary_cross_entropy_with_logits(logits.float(), targets)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        dcls.clamp_positions(model)

    return step
