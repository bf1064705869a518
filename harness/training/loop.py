"""The train stage: one model, one seed, from packed clips to weights, history and recorded positions."""

from __future__ import annotations

import math
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits
from tqdm import tqdm

from dcls import clamp_positions
from harness import paths
from harness.data.clips import open_clips
from harness.errors import UserError
from harness.files import write_bytes, write_csv, write_json
from harness.frontend import FrontEnd
from harness.metrics import mean_average_precision
from harness.models import build_model, device_name, device_of, parameter_count, start_weights
from harness.params import Params
from harness.provenance import data_fingerprint, fingerprint_of, provenance, stage_parameters
from harness.scoring import score
from harness.training import batches, checkpoint, positions, recipe

HISTORY = ("epoch", "learning_rate", "train_loss", "val_mAP", "samples_per_s")


@dataclass(frozen=True)
class Trained:
    """What a training run works on."""

    params: Params
    name: str
    seed: int
    model: nn.Module
    front_end: FrontEnd
    optimizer: torch.optim.Optimizer
    device: torch.device

    @property
    def title(self) -> str:
        return f"{self.name}-{self.seed}"


def train(params: Params, model_name: str, seed: int) -> None:
    """Train, or go on with an interrupted training of the same parameters, data and code.

    Raises UserError where packed clips or the weights to start from are missing, or the loss is not finite.
    """
    settings = params.per_model[model_name]
    if settings.start == "published":
        from harness.published import import_checkpoint

        import_checkpoint(params, settings.weights, model_name, seed)
        return
    folder, result = paths.run(params.preset, model_name, seed), paths.result(params.preset, model_name, seed)
    parameters, data = stage_parameters(params, model_name), data_fingerprint(params)
    device = device_of()
    resume = _resume_path(params.preset, model_name, seed, [parameters, data, device.type])
    started = time.perf_counter()

    torch.manual_seed(seed)
    classes = len(open_clips(params, "val", seed=seed).labels)
    model = build_model(model_name, settings, params.dcls, classes)
    start = start_weights(model, model_name, settings)
    model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = recipe.build_optimizer(model, settings, params.train)
    run = Trained(params, model_name, seed, model, FrontEnd().to(device), optimizer, device)
    state = checkpoint.load_resume(resume / "state.safetensors", model, optimizer)
    if state is None:
        state = checkpoint.Resumed(0, -1.0, [], positions.snapshot(model, 0))
    else:
        print(f"{run.title}: going on after epoch {state.next_epoch}", flush=True)
    history, recorded = _epochs(run, state, resume)

    checkpoint.save_weights(folder / "model.safetensors", model)
    write_bytes(folder / "best.safetensors", (resume / "best.safetensors").read_bytes())
    positions.write_positions(
        recorded,
        params.dcls,
        folder / "positions.npz",
        result / "positions.csv",
        result / "position_density.csv",
    )
    write_csv(result / "history.csv", HISTORY, history)
    write_json(
        result / "run.json",
        provenance(
            "training",
            parameters,
            data,
            device_name(device),
            model=model_name,
            seed=seed,
            start=start,
            threads=torch.get_num_threads(),
            classes=classes,
            trained_parameters=parameter_count(model),
            seconds=round(time.perf_counter() - started, 1),
            resumed_at_epoch=state.next_epoch,
        ),
    )
    shutil.rmtree(resume)


def _epochs(
    run: Trained, state: checkpoint.Resumed, resume: Path
) -> tuple[list[dict[str, float]], dict[str, torch.Tensor]]:
    """The epochs that `state` lacks, a checkpoint after each; the whole history and all recorded positions."""
    best_map, history, recorded = state.best_map, list(state.history), dict(state.positions)
    last = run.params.per_model[run.name].epochs
    val = open_clips(run.params, "val", seed=run.seed)
    bar = tqdm(total=last, initial=state.next_epoch, unit="epoch", desc=run.title, disable=not sys.stderr.isatty())
    for epoch in range(state.next_epoch, last):
        row = _epoch(run, epoch)
        row["val_mAP"] = mean_average_precision(
            val.targets, score(run.model, run.front_end, val, run.params.evaluate.batch, run.device)
        )
        history.append(row)
        if positions.recorded_at(epoch + 1, last):
            recorded |= positions.snapshot(run.model, epoch + 1)
        if row["val_mAP"] > best_map:
            best_map = row["val_mAP"]
            checkpoint.save_weights(resume / "best.safetensors", run.model)
        checkpoint.save_resume(
            resume / "state.safetensors", run.model, run.optimizer, epoch + 1, best_map, history, recorded
        )
        bar.update()
        bar.set_postfix(loss=f"{row['train_loss']:.4f}", val_mAP=f"{row['val_mAP']:.3f}")
        if bar.disable:
            print(
                f"{run.title} epoch {epoch + 1}/{last} loss {row['train_loss']:.4f} "
                f"val mAP {row['val_mAP']:.3f} {row['samples_per_s']:.0f} clips/s",
                flush=True,
            )
    bar.close()
    return history, recorded


def _epoch(run: Trained, epoch: int) -> dict[str, float]:
    """One pass over the training clips: its row of the history."""
    settings, train = run.params.per_model[run.name], run.params.train
    clips = open_clips(run.params, "train", epoch, run.seed)
    division = batches.divide(train, len(clips))
    if epoch == 0 and division.accumulation > 1:
        print(f"{run.title}: {division}", flush=True)
    order = batches.epoch_order(run.seed, epoch, len(clips))
    rates = recipe.learning_rates(
        settings.learning_rate, train.final_learning_rate, settings.epochs, train.warmup_fraction, division.steps
    )
    run.model.train()
    losses, started = [], time.perf_counter()
    for step in tqdm(
        range(division.steps), unit="step", leave=False, desc=f"epoch {epoch + 1}", disable=not sys.stderr.isatty()
    ):
        rate = float(rates[epoch * division.steps + step])
        recipe.set_learning_rate(run.optimizer, rate)
        run.optimizer.zero_grad(set_to_none=True)
        for number, indices in batches.micro_batches(division, order, step):
            random = batches.randomness(run.seed, epoch, number)
            torch.manual_seed(int(random.integers(2**63)))  # drop path
            log_mel, targets = batches.read_mixed(train, clips, indices, (run.seed, epoch), random, run.front_end)
            loss = binary_cross_entropy_with_logits(run.model(log_mel), targets)
            losses.append(loss.item())
            if not math.isfinite(losses[-1]):
                ids = ", ".join(clips.ids[index] for index in indices)
                raise UserError(
                    f"{run.title}: loss is {losses[-1]} at epoch {epoch + 1}, step {step + 1}, learning rate {rate:g}; "
                    f"lower per_model.{run.name}.learning_rate, or look at the clips {ids}"
                )
            (loss / division.accumulation).backward()
        run.optimizer.step()
        clamp_positions(run.model)
    return {
        "epoch": epoch + 1,
        "learning_rate": rate,
        "train_loss": float(np.mean(losses)),
        "samples_per_s": round(division.steps * division.batch / (time.perf_counter() - started), 2),
    }


def _resume_path(preset: str, model_name: str, seed: int, inputs: Any) -> Path:
    """Folder of an interrupted run's state, named by what the run depends on; those of other inputs are deleted."""
    package = Path(__file__).parent.parent
    code = [
        *package.parent.glob("dcls/*.py"),
        *package.glob("training/*.py"),
        *package.glob("data/*.py"),
        package / "models.py",
        package / "frontend.py",
    ]
    versions = [torch.__version__, np.__version__]
    folder = paths.RESUME / f"{preset}-{model_name}-{seed}"
    current = folder / fingerprint_of([inputs, versions], code)[:16]
    for other in folder.glob("*"):
        if other != current:
            shutil.rmtree(other)
    return current
