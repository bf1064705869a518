"""The epochs of a training run: steps, validation, checkpoints, and what stops them."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from harness.base.errors import Stopped, UserError, some
from harness.data.clips.clips import open_clips
from harness.running import resume, signals
from harness.running.processes import World
from harness.running.resume import Progress
from harness.running.watch import Watch
from harness.scoring.metrics import mean_average_precision
from harness.scoring.scores import score
from harness.training import batches, nonfinite, positions, reading, recipe
from harness.training.run import Run
from harness.training.step import optimizer_step


@dataclass
class SessionTimes:
    """What this session of a run took: clips per second of each epoch, and seconds in steps and waiting for clips."""

    clips_per_second: list[float] = field(default_factory=list)
    seconds: float = 0.0
    waited: float = 0.0


def remaining_epochs(
    run: Run, progress: Progress, folder: Path, stop_requests: list[int], times: SessionTimes, watch: Watch
) -> Progress:
    """The epochs that `progress` lacks, a checkpoint after each; the progress at the end."""
    last, world = run.params.systems[run.name].schedule.epochs, run.world
    val = open_clips(run.params, "val", seed=run.seed)
    bar = tqdm(total=last, initial=progress.epoch, unit="epoch", desc=run.title, disable=not _has_bar(world))
    while progress.epoch < last:
        progress, number, rate, stop = _epoch(run, progress, folder, stop_requests, times, watch)
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
        watch.epoch(progress.history, number)
        bar.update()
        bar.set_postfix(loss=f"{row['train_loss']:.4f}", val_mAP=f"{val_map:.3f}")
        if bar.disable:
            say(
                world,
                f"{run.title} epoch {epoch}/{last} loss {row['train_loss']:.4f} val mAP {val_map:.3f} "
                f"{times.clips_per_second[-1]:.0f} clips/s",
            )
        if stop and epoch < last:
            _stop(run, stop_requests)
    bar.close()
    return progress


def _epoch(
    run: Run, progress: Progress, folder: Path, stop_requests: list[int], times: SessionTimes, watch: Watch
) -> tuple[Progress, int, float, bool]:
    """The steps that an epoch still lacks: progress, steps done in all, the last learning rate, whether to stop."""
    schedule, train, world, epoch = run.params.systems[run.name].schedule, run.params.train, run.world, progress.epoch
    execution = run.params.execution
    clips = open_clips(run.params, "train", epoch, run.seed)
    division = batches.divide(train, len(clips), world.size)
    if epoch == 0 and division.parts > 1:
        say(world, f"{run.title}: {division}")
    rates = recipe.learning_rates(
        schedule.learning_rate, train.final_learning_rate, schedule.epochs, train.warmup_fraction, division.steps
    )
    order = batches.epoch_order(run.seed, epoch, len(clips))
    numbers = batches.numbers_of(division, world.rank, progress.step)
    raw_batches = waiting(reading.read(clips, order, division.micro_batch, numbers, execution.workers), times)
    run.trainee.model.train()
    first, started, stop = progress.step, time.perf_counter(), False
    for step in tqdm(
        range(first, division.steps), unit="step", leave=False, desc=f"epoch {epoch + 1}", disable=not _has_bar(world)
    ):
        number, rate = epoch * division.steps + step, float(rates[epoch * division.steps + step])
        losses, stop = optimizer_step(run, raw_batches, division, epoch, rate, bool(stop_requests))
        if not all(map(math.isfinite, losses)):
            _refuse(run, losses, division, order, clips.ids, epoch, step, rate)
        progress = replace(progress, step=step + 1, losses=(*progress.losses, *losses))
        watch.step(epoch, step, division.steps, losses, rate)
        due = execution.checkpoint_steps and (step + 1) % execution.checkpoint_steps == 0
        if step + 1 < division.steps and (stop or due):
            _save(run, folder, number + 1, progress)
            if stop:
                _stop(run, stop_requests)
    seconds = time.perf_counter() - started
    times.seconds += seconds
    times.clips_per_second.append((division.steps - first) * division.batch / seconds)
    return progress, (epoch + 1) * division.steps, rate, stop


def _save(run: Run, folder: Path, number: int, progress: Progress) -> None:
    """A checkpoint, on disk before any process goes on."""
    if run.world.is_first:
        resume.save(folder, number, run.trainee, progress, run.params.execution.checkpoints_kept)
    run.world.wait()


def _stop(run: Run, stop_requests: list[int]) -> None:
    signal = run.world.first(stop_requests[0] if stop_requests else 15)
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
        f"{some(names[bad])}; lower systems.{run.name}.schedule.learning_rate, or look closer with "
        f"`python -m harness replay {folder}`"
    )


def waiting(raw_batches: Iterator[reading.RawBatch], times: SessionTimes) -> Iterator[reading.RawBatch]:
    """The same, with the time noted that they take to come."""
    while True:
        started = time.perf_counter()
        with signals.may_take_long():
            raw = next(raw_batches, None)
        times.waited += time.perf_counter() - started
        if raw is None:
            return
        yield raw


def _has_bar(world: World) -> bool:
    return world.is_first and sys.stderr.isatty()


def say(world: World, line: str) -> None:
    if world.is_first:
        print(line, flush=True)
