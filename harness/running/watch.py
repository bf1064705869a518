"""What is seen of a training while it goes on: history.csv, a status file, and TensorBoard's event files."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from statistics import mean
from typing import Any

import psutil
import torch

from harness.base import paths
from harness.base.errors import Stopped, UserError
from harness.base.files import read_text, remove_leftovers, write_csv, write_json
from harness.config.params import Params
from harness.config.systems import BACKBONES
from harness.records.provenance import fingerprint_of, stage_parameters
from harness.records.schemas import HISTORY, LIVE_HISTORY
from harness.running.processes import World

PAUSE = 10.0  # seconds from one status to the next, epochs' ends apart


class Watch:
    """Tells of one run. Only the first process writes; nothing here waits for the model or changes a number."""

    def __init__(self, params: Params, name: str, seed: int, world: World) -> None:
        self.params, self.name, self.seed, self.world = params, name, seed, world
        self.epochs, self.batch = params.systems[name].schedule.epochs, params.train.batch
        self.begun, self.written = time.perf_counter(), 0.0  # the session, and its last status
        self.steps = self.steps_written = 0  # of this session
        self.events: Any = None
        self.about: dict[str, Any] = {
            "parameters": fingerprint_of(stage_parameters(params, name)),
            "host": socket.gethostname(),
            "process": os.getpid(),
            "process_started": psutil.Process().create_time(),
        }
        self.seen: dict[str, Any] = {"epochs": self.epochs}
        if world.is_first:
            status = paths.status(params.preset, name, seed)
            remove_leftovers(status.parent, status.name)  # of this run, which a killed process was writing
        self._status("running")

    def begin(self, history: Sequence[Mapping[str, float]], step: int) -> None:
        """Before the first step: what an interrupted run has done, and the steps it has taken in all."""
        if not self.world.is_first:
            return
        self.begun = self.written = time.perf_counter()
        if history:
            self._histories(history)
        if self.params.execution.tensorboard:
            from torch.utils.tensorboard import SummaryWriter  # seconds

            folder = paths.tensorboard(self.params.preset, self.name, self.seed)
            if step == 0:
                shutil.rmtree(folder, ignore_errors=True)
            self.events = SummaryWriter(str(folder), purge_step=step + 1)  # it writes from a thread of its own

    def step(self, epoch: int, step: int, steps: int, losses: Sequence[float], rate: float) -> None:
        """After step `step` of `steps` of an epoch, all counted from 0."""
        if not self.world.is_first:
            return
        self.steps += 1
        number, now = epoch * steps + step + 1, time.perf_counter()
        self._scalars(number, {"train/loss": mean(losses), "train/learning_rate": rate})
        if now - self.written < PAUSE and step + 1 < steps:
            return
        speed = (self.steps - self.steps_written) * self.batch / (now - max(self.written, self.begun))
        left = (self.epochs * steps - number) * (now - self.begun) / self.steps
        memory = _memory(self.world.device)
        self.seen |= {"epoch": epoch + 1, "step": step + 1, "steps": steps, "train_loss": mean(losses)}
        self.seen |= {"clips_per_second": round(speed, 1), "seconds_left": round(left), "memory_bytes": memory}
        self._scalars(number, {"speed/clips_per_second": speed, "speed/hours_left": left / 3600})
        self._scalars(number, {"memory/GB": memory / 1e9})
        self.steps_written = self.steps
        self._status("running")

    def epoch(self, history: Sequence[Mapping[str, float]], number: int) -> None:
        """After an epoch, `number` steps in all."""
        if not self.world.is_first:
            return
        last = history[-1]
        self.seen |= {"train_loss": last["train_loss"], "val_mAP": last["val_mAP"]}
        self._scalars(number, {"epoch/train_loss": last["train_loss"], "epoch/val_mAP": last["val_mAP"]})
        if self.events is not None:
            self.events.flush()  # else a killed run loses what it wrote in the last two minutes
        self._histories(history)
        self._status("running")

    def end(self, state: str, why: str = "") -> None:
        if self.events is not None:
            self.events.close()
        with contextlib.suppress(UserError):  # a full disk, which is why it ended
            self._status(state, why)

    def _scalars(self, number: int, values: Mapping[str, float]) -> None:
        for name, value in values.items() if self.events is not None else ():
            self.events.add_scalar(name, value, number)

    def _status(self, state: str, why: str = "") -> None:
        if not self.world.is_first:
            return
        self.written = time.perf_counter()
        now = datetime.now(UTC).isoformat(timespec="seconds")
        content = {"state": state, "why": why, "at": now, **self.about, **self.seen}
        write_json(paths.status(self.params.preset, self.name, self.seed), content)

    def _histories(self, history: Sequence[Mapping[str, float]]) -> None:
        """history.csv so far, and with those of all other runs as `dvc plots show` draws them, as `tables` does later.

        The record of an earlier run goes: it does not belong to this history.
        """
        results = paths.training_results(self.params.preset, self.name, self.seed)
        (results / "run.json").unlink(missing_ok=True)
        write_csv(results / "history.csv", HISTORY, history)
        plotted, rows = paths.plotted_history(self.params.preset), _all_histories(self.params)
        write_csv(plotted, LIVE_HISTORY, rows, writer=f"{self.name}-{self.seed}")  # other runs write it, too


@contextmanager
def watching(params: Params, name: str, seed: int, world: World) -> Iterator[Watch]:
    """A watch that says how the run ended."""
    watch = Watch(params, name, seed, world)
    try:
        yield watch
    except Stopped as stopped:
        watch.end("stopped", str(stopped))
        raise
    except BaseException as error:
        watch.end("failed", str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}")
        raise
    watch.end("done")


def _all_histories(params: Params) -> Iterator[list[Any]]:
    """The rows of LIVE_HISTORY, of the runs that have any."""
    for name in params.models:
        system = params.systems[name]
        for seed in params.seeds:
            path = paths.training_results(params.preset, name, seed) / "history.csv"
            for line in read_text(path).splitlines()[1:] if path.exists() else ():
                with contextlib.suppress(ValueError):  # another run's file, which `tables` will complain of
                    epoch, _, loss, val_map = line.split(",")
                    yield [BACKBONES[system.model.backbone], system.method, seed, epoch, loss, 100 * float(val_map)]


def _memory(device: torch.device) -> int:
    """Bytes that PyTorch had on the GPU at most, or that the process has."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return psutil.Process().memory_info().rss
