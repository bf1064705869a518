"""What a training run works on, built as its parameters say."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.checkpoint import checkpoint

from dcls import use_quick_backward
from harness.audio.front_end import FrontEnd
from harness.config.params import Params
from harness.models import precision
from harness.models.build import build_model, start_weights
from harness.running.processes import World
from harness.running.resume import Trainee
from harness.training import batch_norm, recipe


@dataclass(frozen=True)
class Run:
    """What a training run works on. `forward` is the model as it is called: shared between processes, compiled."""

    params: Params
    name: str
    seed: int
    trainee: Trainee
    forward: Any
    front_end: FrontEnd
    world: World

    @property
    def title(self) -> str:
        return f"{self.name}-{self.seed}"


def new_run(params: Params, name: str, seed: int, classes: int, world: World) -> tuple[Run, dict[str, Any]]:
    """A run at its start, and the record of the weights that it starts from (see `models.start_weights`).

    Raises UserError where these cannot be had, or the device has not the precision.
    """
    system, train = params.systems[name], params.train
    precision.apply(train, world.device)
    torch.manual_seed(seed)
    model = build_model(system.model, classes)
    start = start_weights(model, system.model)
    use_quick_backward(model)  # what DCLS layers have
    layout = torch.channels_last if train.channels_last else torch.contiguous_format
    model = model.to(world.device, memory_format=layout)  # type: ignore[call-overload]
    average = None
    if train.ema_decay is not None:
        average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(train.ema_decay), use_buffers=True)
    if train.activation_checkpointing:
        _compute_again(model)
    optimizer = recipe.build_optimizer(model, system, train)
    scaler = torch.amp.GradScaler(world.device.type, enabled=train.precision == "fp16")
    trainee = Trainee(model, optimizer, scaler, average)
    front_end = FrontEnd().to(world.device)
    return Run(params, name, seed, trainee, _shared(model, train.compile, world), front_end, world), start


def _compute_again(model: Any) -> None:
    """Activations within each block are computed again in the backward pass; timm's own switch nests in MetaFormer."""
    for stage in model.stages:
        for block in stage.blocks:
            batch_norm.count_twice(block)
            block.forward = partial(checkpoint, block.forward, use_reentrant=False)


def _shared(model: nn.Module, compiled: bool, world: World) -> Any:
    """`model` so that its gradients become the mean over processes; `batch_norm` sees to the buffers."""
    if world.size > 1:
        ids = [world.device.index] if world.device.type == "cuda" else None
        model = DistributedDataParallel(model, device_ids=ids, broadcast_buffers=False, gradient_as_bucket_view=True)
    return torch.compile(model) if compiled else model
