"""The train stage: one model, one seed, from packed clips to weights, history and recorded positions."""

from __future__ import annotations

import math
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from tqdm import tqdm

from dcls import clamp_positions
from harness import paths
from harness.data.clips import open_clips
from harness.errors import UserError
from harness.files import read_json, write_bytes, write_csv, write_json
from harness.frontend import FrontEnd
from harness.metrics import mean_average_precision
from harness.models import build_model, device_of, parameter_count
from harness.params import Params
from harness.provenance import as_plain, fingerprint_of, provenance
from harness.scoring import score
from harness.training import augment, checkpoint, positions, recipe

HISTORY = ("epoch", "learning_rate", "train_loss", "val_mAP", "samples_per_s")
ORDER, STEP = 2**32 - 1, 2**32 - 2  # third parts of generator keys that no sample index reaches


def train(params: Params, model_name: str, seed: int) -> None:
    """Train, or go on with an interrupted training of the same parameters, data and code.

    Raises UserError where packed clips are missing or the loss is not finite.
    """
    device = device_of()
    folder, result = paths.run(params.preset, model_name, seed), paths.result(params.preset, model_name, seed)
    parameters = stage_parameters(params, model_name)
    data_fingerprint = read_json(paths.packed(params.preset) / "summary.json")["fingerprint"]
    resume = _resume_path(params.preset, model_name, seed, [parameters, data_fingerprint, device.type])
    started = time.perf_counter()

    torch.manual_seed(seed)
    classes = len(open_clips(params, "val").labels)
    model = build_model(model_name, params.per_model[model_name], params.dcls, classes)
    model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    front_end = FrontEnd().to(device)
    optimizer = recipe.build_optimizer(model, params.per_model[model_name], params.train)
    state = checkpoint.load_resume(resume / "state.safetensors", model, optimizer)
    if state is None:
        state = checkpoint.Resumed(0, -1.0, [], positions.snapshot(model, 0))
    else:
        print(f"{model_name}-{seed}: going on after epoch {state.next_epoch}", flush=True)
    best_map, history, recorded = state.best_map, list(state.history), dict(state.positions)

    last = params.per_model[model_name].epochs
    bar = tqdm(
        total=last, initial=state.next_epoch, unit="epoch", desc=f"{model_name}-{seed}", disable=not sys.stderr.isatty()
    )
    for epoch in range(state.next_epoch, last):
        row = _epoch(params, model_name, seed, epoch, model, front_end, optimizer, device)
        val = open_clips(params, "val")
        row["val_mAP"] = mean_average_precision(
            val.targets, score(model, front_end, val, params.evaluate.batch, device)
        )
        history.append(row)
        if positions.recorded_at(epoch + 1, last):
            recorded |= positions.snapshot(model, epoch + 1)
        if row["val_mAP"] > best_map:
            best_map = row["val_mAP"]
            checkpoint.save_weights(resume / "best.safetensors", model)
        checkpoint.save_resume(resume / "state.safetensors", model, optimizer, epoch + 1, best_map, history, recorded)
        bar.update()
        bar.set_postfix(loss=f"{row['train_loss']:.4f}", val_mAP=f"{row['val_mAP']:.3f}")
        if bar.disable:
            print(
                f"{model_name}-{seed} epoch {epoch + 1}/{last} loss {row['train_loss']:.4f} "
                f"val mAP {row['val_mAP']:.3f} {row['samples_per_s']:.0f} clips/s",
                flush=True,
            )
    bar.close()

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
            data_fingerprint,
            device_name(device),
            model=model_name,
            seed=seed,
            threads=torch.get_num_threads(),
            classes=classes,
            trained_parameters=parameter_count(model),
            seconds=round(time.perf_counter() - started, 1),
            resumed_at_epoch=state.next_epoch,
        ),
    )
    shutil.rmtree(resume)


def stage_parameters(params: Params, model_name: str) -> dict[str, Any]:
    """What a training run depends on; dvc.yaml lists the same keys."""
    plain = as_plain(params)
    del plain["data"]["mirror"]
    return {
        "preset": params.preset,
        "data": plain["data"],
        "dcls": plain["dcls"],
        "train": plain["train"],
        "model": plain["per_model"][model_name],
    }


def device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def _epoch(
    params: Params,
    model_name: str,
    seed: int,
    epoch: int,
    model: nn.Module,
    front_end: FrontEnd,
    optimizer: torch.optim.Optimizer,
    device: torch.device,
) -> dict[str, float]:
    """One pass over the training clips: its row of the history."""
    clips = open_clips(params, "train", epoch)
    order = augment.generator(seed, epoch, ORDER).permutation(len(clips))
    size = min(params.train.batch, len(clips))
    steps = len(clips) // size  # a ragged last batch is left out, as in the paper; the order changes every epoch
    rates = recipe.learning_rates(
        params.per_model[model_name].learning_rate,
        params.train.final_learning_rate,
        params.per_model[model_name].epochs,
        params.train.warmup_fraction,
        steps,
    )
    model.train()
    losses, started = [], time.perf_counter()
    for step in tqdm(
        range(steps), unit="step", leave=False, desc=f"epoch {epoch + 1}", disable=not sys.stderr.isatty()
    ):
        indices = order[step * size : (step + 1) * size].tolist()
        random = augment.generator(seed, epoch, STEP, step)
        torch.manual_seed(int(random.integers(2**63)))  # drop path
        log_mel, targets = _batch(params, clips, indices, seed, epoch, front_end, random, device)
        rate = float(rates[epoch * steps + step])
        recipe.set_learning_rate(optimizer, rate)
        loss = binary_cross_entropy_with_logits(model(log_mel), targets)
        value = loss.item()
        if not math.isfinite(value):
            ids = ", ".join(clips.ids[index] for index in indices)
            raise UserError(
                f"{model_name}-{seed}: loss is {value} at epoch {epoch + 1}, step {step + 1}, learning rate {rate:g}; "
                f"lower per_model.{model_name}.learning_rate, or look at the clips {ids}"
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        clamp_positions(model)
        losses.append(value)
    return {
        "epoch": epoch + 1,
        "learning_rate": rate,
        "train_loss": float(np.mean(losses)),
        "samples_per_s": round(steps * size / (time.perf_counter() - started), 2),
    }


def _batch(
    params: Params,
    clips: Any,
    indices: list[int],
    seed: int,
    epoch: int,
    front_end: FrontEnd,
    random: np.random.Generator,
    device: torch.device,
) -> tuple[Tensor, Tensor]:
    """Augmented, mixed log-mel (clips, 1, 128, frames) and targets (clips, classes)."""
    waveforms = [clips.waveform(index) for index in indices]
    frames = 1 + waveforms[0].shape[0] // front_end.spectrogram.hop_length
    bins = front_end.spectrogram.n_fft // 2 + 1
    draws = [augment.draw(params.train, augment.generator(seed, epoch, index), bins, frames) for index in indices]
    changed = [augment.roll_and_speed(waveform, one) for waveform, one in zip(waveforms, draws, strict=True)]
    with torch.no_grad():
        power = augment.erase(front_end.power(torch.from_numpy(np.stack(changed)).to(device)), draws)
        targets = torch.from_numpy(clips.targets[indices]).to(device)
        targets = recipe.smooth(targets, params.train.label_smoothing)
        log_mel, targets = augment.mixup(front_end.log_mel(power), targets, params.train.mixup_alpha, random)
    return log_mel.contiguous(memory_format=torch.channels_last), targets


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
