"""A loss that is not finite: what is written down of it, and the command that runs the same step again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from harness.audio.front_end import FrontEnd
from harness.base import paths
from harness.base.files import read_json, write_json
from harness.config.params import Params
from harness.data.clips.clips import open_clips
from harness.models import precision
from harness.models.build import build_model
from harness.records.provenance import data_fingerprint, stage_parameters
from harness.running.checkpoint import load_weights, save_weights
from harness.running.processes import World, single_process
from harness.training import batches, reading


def write_dump(params: Params, name: str, seed: int, model: nn.Module, where: dict[str, Any]) -> Path:
    """The weights before the step and, as JSON, `where`: epoch, step, learning rate, and the micro-batches' losses."""
    folder = paths.NONFINITE / f"{params.preset}-{name}-{seed}"
    save_weights(folder / "model.safetensors", model)
    record = {"model": name, "seed": seed, "data_fingerprint": data_fingerprint(params)}
    write_json(folder / "dump.json", record | where | {"parameters": stage_parameters(params, name)})
    return folder


def replay(params: Params, folder: Path) -> None:
    """Run the micro-batches of a dump again and say where the first value that is not finite comes from.

    Raises UserError where the dump or the packed clips are missing; warns where parameters or data are others.
    """
    dump = read_json(folder / "dump.json")
    name, seed, epoch = dump["model"], dump["seed"], dump["epoch"] - 1
    for what, then, now in (
        ("parameters", dump["parameters"], stage_parameters(params, name)),
        ("packed clips", dump["data_fingerprint"], data_fingerprint(params)),
    ):
        if then != now:
            print(f"the {what} are not those of the dump, so this may not repeat it")
    world = single_process()
    precision.apply(params.train, world.device)
    clips = open_clips(params, "train", epoch, seed)
    model = build_model(params.systems[name].model, len(clips.labels))
    load_weights(folder / "model.safetensors", model)
    model = model.to(world.device).train()
    order = batches.epoch_order(seed, epoch, len(clips))
    micro_batch = params.train.micro_batch or params.train.batch
    numbers = [one["number"] for one in dump["micro_batches"]]
    front_end = FrontEnd().to(world.device)
    print(f"{name}-{seed}, epoch {dump['epoch']}, step {dump['step']}, learning rate {dump['learning_rate']:g}")
    for raw, then in zip(reading.read(clips, order, micro_batch, numbers, 0), dump["micro_batches"], strict=True):
        loss, first = _loss(params, model, raw, (seed, epoch), front_end, world)
        print(f"micro-batch {raw.number}: loss {loss:g}, was {then['loss']}; clips {', '.join(then['ids'])}")
        if first:
            print(f"  first value that is not finite: {first}")


def _loss(
    params: Params, model: nn.Module, raw: reading.RawBatch, key: tuple[int, int], front_end: FrontEnd, world: World
) -> tuple[float, str]:
    """A micro-batch's loss, and what first is not finite: `waveform`, `log_mel`, a parameter, a module, or nothing."""
    log_mel, targets = batches.prepare(params.train, raw, key, front_end)
    given = {"waveform": raw.waveform, "log_mel": log_mel}
    given |= {f"parameter {name}": parameter for name, parameter in model.named_parameters()}
    found = [name for name, tensor in given.items() if not tensor.isfinite().all()]
    with torch.no_grad(), _watched(model, found), precision.autocast(params.train.precision, world.device):
        logits = model(log_mel)
    return binary_cross_entropy_with_logits(logits.float(), targets).item(), found[0] if found else ""


@contextmanager
def _watched(model: nn.Module, found: list[str]) -> Iterator[None]:
    """Append the names of modules whose output is not finite to `found`, as they are run."""

    def watch(name: str, output: Any) -> None:
        if isinstance(output, Tensor) and not output.isfinite().all():
            found.append(f"output of {name}")

    hooks = [
        module.register_forward_hook(lambda _module, _given, output, name=name: watch(name, output))
        for name, module in model.named_modules()
        if name
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
