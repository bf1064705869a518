"""The train stage: one model, one seed, from packed clips to weights, history and recorded positions."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import dcls
from harness.base import paths
from harness.base.errors import UserError
from harness.base.files import remove_leftovers, sha256_of, write_bytes, write_csv, write_json
from harness.config.params import Params
from harness.data.clips.clips import open_clips
from harness.data.clips.labels import read_labels
from harness.models.build import parameter_count
from harness.models.device import device_name, instruction_set
from harness.records.code_closure import stage_fingerprint
from harness.records.description import describe
from harness.records.provenance import data_fingerprint, fingerprint_of, provenance, stage_parameters, write_log
from harness.records.schemas import HISTORY
from harness.running import resume, signals
from harness.running.checkpoint import save_weights, with_metadata
from harness.running.processes import World, joined, use_threads
from harness.running.watch import Watch, watching
from harness.training import positions, reading
from harness.training.loop import SessionTimes, remaining_epochs, say
from harness.training.published import import_checkpoint
from harness.training.run import Run, new_run


def train(params: Params, model_name: str, seed: int) -> None:
    """Train, or go on with an unfinished training of the same parameters, data and code; alone or under torchrun.

    Where the model is to start from published weights, these are filed instead. Raises UserError where packed clips or
    the weights to start from are missing, or the loss is not finite; Stopped after SIGTERM or Ctrl-C, once a checkpoint
    is written.
    """
    use_threads(params.execution.threads)
    start = params.systems[model_name].model
    if start.start == "published":
        import_checkpoint(params, start.weights, model_name, seed)
        return
    with (
        joined() as world,
        signals.stop_requests() as requests,
        watching(params, model_name, seed, world) as watch,
        reading.readers(),
    ):
        _train(params, model_name, seed, world, requests, watch)


def _train(params: Params, name: str, seed: int, world: World, stop_requests: list[int], watch: Watch) -> None:
    parameters, data = stage_parameters(params, name), data_fingerprint(params)
    weights = params.systems[name].model.weights
    start_from = sha256_of(Path(weights)) if weights and Path(weights).is_file() else None
    folder = _resume_folder(params.preset, name, seed, [parameters, data, world.device.type, start_from], world)
    started = time.perf_counter()

    classes = len(open_clips(params, "val", seed=seed).labels)
    run, start = new_run(params, name, seed, classes, world)
    number = world.first(resume.newest(folder) if world.is_first else None)
    progress = resume.Progress(positions=positions.snapshot(run.trainee.model, 0))
    if number is not None:
        progress = resume.load(folder, number, run.trainee)
        say(world, f"{name}-{seed}: going on after epoch {progress.epoch}, step {progress.step} of the next")
    resumed, times = progress, SessionTimes()
    watch.begin(progress.history, number or 0)
    progress = remaining_epochs(run, progress, folder, stop_requests, times, watch)
    if not world.is_first:
        return
    record = provenance(
        "training",
        parameters,
        data,
        device_name(world.device),
        params.train.precision,
        instruction_set=instruction_set(world.device),
        model=name,
        seed=seed,
        start=start,
        processes=world.size,
        threads=torch.get_num_threads(),
        classes=classes,
        trained_parameters=parameter_count(run.trainee.model),
        convolutions=dcls.convolution_choices() if params.train.convolution == "measured" else "rule",
    )
    _write(run, progress, folder, record)
    write_log(
        params.preset,
        run.title,
        time.perf_counter() - started,
        resumed_at=(resumed.epoch, resumed.step),
        clips_per_second=round(float(np.median(times.clips_per_second)), 2) if times.clips_per_second else None,
        waiting_fraction=round(times.waited / times.seconds, 4) if times.seconds else None,
    )


def _write(run: Run, progress: resume.Progress, folder: Path, record: dict[str, Any]) -> None:
    """The finished run's files; its checkpoints go."""
    preset, name, seed = run.params.preset, run.name, run.seed
    out, results = paths.run(preset, name, seed), paths.training_results(preset, name, seed)
    remove_leftovers(out)
    remove_leftovers(results)
    about = describe(record, read_labels(paths.packed(preset) / "labels.csv")).metadata()
    save_weights(out / "model.safetensors", run.trainee.weights, about)
    with resume.on_disk(folder):
        best = (folder / progress.best).read_bytes()
    write_bytes(out / "best.safetensors", with_metadata(best, about))
    positions.write_positions(progress.positions, run.params.systems[name].model.dcls, out / "positions.npz", results)
    write_csv(results / "history.csv", HISTORY, progress.history)
    write_json(results / "run.json", record)
    with resume.on_disk(folder):
        shutil.rmtree(folder)


def _resume_folder(preset: str, name: str, seed: int, inputs: Any, world: World) -> Path:
    """Folder of an unfinished run's checkpoints, named by what the run depends on; those of other inputs are deleted.

    Neither the number of processes nor params.execution is among that.
    """
    versions = [torch.__version__, np.__version__]
    folder = paths.RESUME / f"{preset}-{name}-{seed}"
    current = folder / fingerprint_of([inputs, versions, stage_fingerprint("train")])[:16]
    if world.is_first:
        for other in folder.glob("*"):
            if other != current:
                shutil.rmtree(other)
        try:
            current.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{current}: cannot be made ({error.strerror}); free space or fix its rights") from error
    return current
