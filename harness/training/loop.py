"""The train stage: one model, one seed, from packed clips to weights, history and recorded positions."""

from __future__ import annotations

import math
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

import dcls
from harness.base import paths
from harness.base.errors import Stopped, UserError
from harness.base.files import remove_leftovers, write_bytes, write_csv, write_json
from harness.config.params import Params
from harness.data.clips.clips import open_clips
from harness.models.build import device_name, parameter_count
from harness.records.provenance import data_fingerprint, fingerprint_of, provenance, stage_parameters
from harness.running import resume, signals
from harness.running.checkpoint import save_weights
from harness.running.processes import World, joined
from harness.running.resume import Progress
from harness.scoring.metrics import mean_average_precision
from harness.scoring.scores import score
from harness.training import batches, nonfinite, positions, recipe
from harness.training.run import Run, new_run
from harness.training.step import take

HISTORY = ("epoch", "learning_rate", "train_loss", "val_mAP")


@dataclass
class Pace:
    """What this session of a run took: clips per second of each epoch, and seconds in steps and waiting for clips."""

    samples_per_s: list[float] = field(default_factory=list)
    seconds: float = 0.0
    waited: float = 0.0


def train(params: Params, model_name: str, seed: int) -> None:
    """Train, or go on with an unfinished training of the same parameters, data and code; alone or under torchrun.

    Raises UserError where packed clips or the weights to start from are missing, or the loss is not finite; Stopped
    after SIGTERM or Ctrl-C, once a checkpoint is written.
    """
    settings = params.per_model[model_name]
    if settings.start == "published":
        from harness.training.published import import_checkpoint

        import_checkpoint(params, settings.weights, model_name, seed)
        return
    with joined() as world, signals.wishes() as wishes:
        _train(params, model_name, seed, world, wishes)


def _train(params: Params, name: str, seed: int, world: World, wishes: list[int]) -> None:
    parameters, data = stage_parameters(params, name), data_fingerprint(params)
    folder = _resume_folder(params.preset, name, seed, [parameters, data, world.device.type], world)
    started = time.perf_counter()

    classes = len(open_clips(params, "val", seed=seed).labels)
    run, start = new_run(params, name, seed, classes, world)
    number = world.first(resume.newest(folder) if world.is_first else None)
    progress = Progress(positions=positions.snapshot(run.trainee.model, 0))
    if number is not None:
        progress = resume.load(folder, number, run.trainee)
        _say(world, f"{name}-{seed}: going on after epoch {progress.epoch}, step {progress.step} of the next")
    resumed, pace = progress, Pace()
    progress = _epochs(run, progress, folder, wishes, pace)
    if not world.is_first:
        return
    record = provenance(
        "training",
        parameters,
        data,
        device_name(world.device),
        params.train.precision,
        model=name,
        seed=seed,
        start=start,
        processes=world.size,
        threads=torch.get_num_threads(),
        classes=classes,
        trained_parameters=parameter_count(run.trainee.model),
        convolutions=dcls.convolution_choices() if params.train.convolution == "measured" else "rule",
        seconds=round(time.perf_counter() - started, 1),
        resumed_at=[resumed.epoch, resumed.step],
        samples_per_s=round(float(np.median(pace.samples_per_s)), 2) if pace.samples_per_s else None,
        waiting_fraction=round(pace.waited / pace.seconds, 4) if pace.seconds else None,
    )
    _write(run, progress, folder, record)


def _write(run: Run, progress: Progress, folder: Path, record: dict[str, Any]) -> None:
    """The finished run's files; its checkpoints go."""
    preset, name, seed = run.params.preset, run.name, run.seed
    out, result = paths.run(preset, name, seed), paths.training_results(preset, name, seed)
    remove_leftovers(out)
    remove_leftovers(result)
    save_weights(out / "model.safetensors", run.trainee.weights)
    with resume.on_disk(folder):
        best = (folder / progress.best).read_bytes()
    write_bytes(out / "best.safetensors", best)
    positions.write_positions(progress.positions, run.params.dcls, out / "positions.npz", result)
    write_csv(result / "history.csv", HISTORY, progress.history)
    write_json(result / "run.json", record)
    with resume.on_disk(folder):
        shutil.rmtree(folder)


def _epochs(run: Run, progress: Progress, folder: Path, wishes: list[int], pace: Pace) -> Progress:
    """The epochs that `progress` lacks, a checkpoint after each; the progress at the end."""
    last, world = run.params.per_model[run.name].epochs, run.world
    val = open_clips(run.params, "val", seed=run.seed)
    bar = tqdm(total=last, initial=progress.epoch, unit="epoch", desc=run.title, disable=not _has_bar(world))
    while progress.epoch < last:
        progress, number, rate, wished = _epoch(run, progress, folder, wishes, pace)
        weights, epoch = run.trainee.weights, progress.epoch + 1
        val_map = mean_average_precision(
            val.targets, score(weights, run.front_end, val, run.params.evaluate.batch, world)
        )
        row = {
            "epoch": epoch,
            "learning_rate": rate,
            "train_loss": float(np.mean(progress.losses)),
            "val_mAP": val_map,
        }
        recorded = positions.snapshot(weights, epoch) if positions.recorded_at(epoch, last) else {}
        done = replace(progress, epoch=epoch, step=0, losses=(), history=(*progress.history, row))
        progress = replace(done, positions=progress.positions | recorded)
        if val_map > progress.best_map:
            best = resume.save_best(folder, number, run.trainee) if world.is_first else ""
            progress = replace(progress, best_map=val_map, best=best)
        _save(run, folder, number, progress)
        bar.update()
        bar.set_postfix(loss=f"{row['train_loss']:.4f}", val_mAP=f"{val_map:.3f}")
        if bar.disable:
            _say(
                world,
                f"{run.title} epoch {epoch}/{last} loss {row['train_loss']:.4f} val mAP {val_map:.3f} "
                f"{pace.samples_per_s[-1]:.0f} clips/s",
            )
        if wished and epoch < last:
            _stop(run, wishes)
    bar.close()
    return progress


def _epoch(
    run: Run, progress: Progress, folder: Path, wishes: list[int], pace: Pace
) -> tuple[Progress, int, float, bool]:
    """The steps that an epoch still lacks: progress, steps done in all, the last learning rate, whether to stop."""
    settings, train, world, epoch = run.params.per_model[run.name], run.params.train, run.world, progress.epoch
    execution = run.params.execution
    clips = open_clips(run.params, "train", epoch, run.seed)
    division = batches.divide(train, len(clips), world.size)
    if epoch == 0 and division.parts > 1:
        _say(world, f"{run.title}: {division}")
    rates = recipe.learning_rates(
        settings.learning_rate, train.final_learning_rate, settings.epochs, train.warmup_fraction, division.steps
    )
    order = batches.epoch_order(run.seed, epoch, len(clips))
    numbers = batches.numbers_of(division, world.rank, progress.step)
    pieces = waiting(batches.read(clips, order, division.micro_batch, numbers, execution.workers), pace)
    run.trainee.model.train()
    first, started, wished = progress.step, time.perf_counter(), False
    for step in tqdm(
        range(first, division.steps), unit="step", leave=False, desc=f"epoch {epoch + 1}", disable=not _has_bar(world)
    ):
        number, rate = epoch * division.steps + step, float(rates[epoch * division.steps + step])
        losses, wished = take(run, pieces, division, epoch, rate, bool(wishes))
        if not all(map(math.isfinite, losses)):
            _refuse(run, losses, division, order, clips.ids, epoch, step, rate)
        progress = replace(progress, step=step + 1, losses=(*progress.losses, *losses))
        due = execution.checkpoint_steps and (step + 1) % execution.checkpoint_steps == 0
        if step + 1 < division.steps and (wished or due):
            _save(run, folder, number + 1, progress)
            if wished:
                _stop(run, wishes)
    seconds = time.perf_counter() - started
    pace.seconds += seconds
    pace.samples_per_s.append((division.steps - first) * division.batch / seconds)
    return progress, (epoch + 1) * division.steps, rate, wished


def _save(run: Run, folder: Path, number: int, progress: Progress) -> None:
    """A checkpoint, on disk before any process goes on."""
    if run.world.is_first:
        resume.save(folder, number, run.trainee, progress, run.params.execution.checkpoints_kept)
    run.world.wait()


def _stop(run: Run, wishes: list[int]) -> None:
    signal = run.world.first(wishes[0] if wishes else 15)
    if not run.world.is_first:
        raise SystemExit(128 + signal)
    raise Stopped(f"{run.title}: stopped; its checkpoint is written, run it again to go on", signal)


def _refuse(
    run: Run,
    losses: list[float],
    division: batches.Division,
    order: np.ndarray,
    ids: Any,
    epoch: int,
    step: int,
    rate: float,
) -> None:
    """Raises UserError for a loss that is not finite, after a dump of the step."""
    size, bad = division.micro_batch, next(index for index, loss in enumerate(losses) if not math.isfinite(loss))
    numbers = range(step * division.parts, (step + 1) * division.parts)
    names = [[ids[index] for index in order[number * size : (number + 1) * size].tolist()] for number in numbers]
    micro_batches = [
        {"number": number, "loss": str(loss), "ids": those}
        for number, loss, those in zip(numbers, losses, names, strict=True)
    ]
    where = {"epoch": epoch + 1, "step": step + 1, "learning_rate": rate, "micro_batches": micro_batches}
    if run.world.is_first:
        folder = nonfinite.write_dump(run.params, run.name, run.seed, run.trainee.model, where)
    run.world.wait()
    if not run.world.is_first:
        raise SystemExit(2)
    raise UserError(
        f"{run.title}: loss is {losses[bad]} at epoch {epoch + 1}, step {step + 1}, learning rate {rate:g}, clips "
        f"{', '.join(names[bad])}; lower per_model.{run.name}.learning_rate, or look closer with "
        f"`python -m harness replay {folder}`"
    )


def waiting(pieces: Iterator[batches.Piece], pace: Pace) -> Iterator[batches.Piece]:
    """The same, with the time noted that they take to come."""
    while True:
        started = time.perf_counter()
        piece = next(pieces, None)
        pace.waited += time.perf_counter() - started
        if piece is None:
            return
        yield piece


def _has_bar(world: World) -> bool:
    return world.is_first and sys.stderr.isatty()


def _say(world: World, line: str) -> None:
    if world.is_first:
        print(line, flush=True)


def _resume_folder(preset: str, name: str, seed: int, inputs: Any, world: World) -> Path:
    """Folder of an unfinished run's checkpoints, named by what the run depends on; those of other inputs are deleted.

    Neither the number of processes nor params.execution is among that.
    """
    package = Path(__file__).parent.parent
    code = [
        *package.parent.glob("dcls/*.py"),
        *package.glob("training/*.py"),
        *package.glob("data/*.py"),
        *(
            package / f"{module}.py"
            for module in ("frontend", "metrics", "models", "processes", "scale", "scoring", "weights")
        ),
    ]
    versions = [torch.__version__, np.__version__]
    folder = paths.RESUME / f"{preset}-{name}-{seed}"
    current = folder / fingerprint_of([inputs, versions], code)[:16]
    if world.is_first:
        for other in folder.glob("*"):
            if other != current:
                shutil.rmtree(other)
        try:
            current.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{current}: cannot be made ({error.strerror}); free space or fix its rights") from error
    return current
