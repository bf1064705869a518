"""Stages of dvc.yaml that do not depend on each other run side by side."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from pathlib import Path
from statistics import mean

from dvc.exceptions import DvcException
from dvc.repo import lock_repo
from dvc.repo.reproduce import get_active_graph, plan_repro
from dvc.utils.serialize import modify_yaml
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.text import Text
from tqdm import tqdm

from harness.base.errors import Stopped, UserError
from harness.base.files import read_json, write_json
from harness.base.lock import one_at_a_time
from harness.base.paths import PARAMS
from harness.config.params import load
from harness.running.schedule import makespan, next_stage, seconds_to_end
from harness.running.stage_process import LOGS, StageProcess, in_use
from harness.running.without_git import open_repo

LOCK = Path("dvc.lock")
SECONDS = LOGS / "seconds.json"  # how long each stage took here
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


def reproduce(jobs: int | None) -> int:
    """Run what is out of date, `jobs` stages at a time (default: one a GPU, else one a core); 1 where a stage failed.

    Raises Stopped after SIGINT, SIGTERM or SIGHUP, once what ran has ended; UserError where DVC cannot read the
    pipeline, or another process works on it.
    """
    if jobs is not None and jobs < 1:
        raise UserError(f"--jobs: {jobs} stages at a time are none; give 1 or more, or leave it out")
    received: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number == signal.SIGINT or signal.getsignal(number) != signal.SIG_IGN:  # nohup ignores SIGHUP
            signal.signal(number, lambda got, _: received.append(got))
    try:
        with one_at_a_time(LOGS / "lock", "make repro"):
            _link_again()
            pipeline = Pipeline(received)
            pipeline.run(jobs)
    except DvcException as error:
        raise UserError(f"dvc: {in_use([str(error)]) or error}") from error
    for name, why in pipeline.failures.items():
        print(f"failed: {name}: {why}", file=sys.stderr)
    if received:
        stopped = ", ".join(pipeline.names("stopped")) or "between stages"
        raise Stopped(f"stopped {stopped}; run it again to go on", received[0])
    if left := pipeline.names("waiting", "ready"):
        print(f"not run, as what they need failed: {', '.join(left)}", file=sys.stderr)
    return 1 if pipeline.failures else 0


def _link_again() -> None:
    """What is new or gone of the user's files, and the state of those that DVC does not read."""
    params = load(PARAMS) if PARAMS.exists() else None
    if params and (params.data.is_brought or any(system.model.weights for system in params.systems.values())):
        from harness.data.links import link  # whose libraries take as long to load as DVC to find nothing to do

        link(params)


class Pace(ProgressColumn):
    """Seconds of each epoch, or whatever a stage counts, and until its end."""

    def render(self, task: Task) -> Text:
        each = f"{1 / task.speed:.1f} s each, " if task.speed else ""
        left = task.fields.get("left", task.time_remaining)
        return Text(each + (f"{tqdm.format_interval(left)} left" if left is not None else ""))


class Pipeline:
    """The stages of dvc.yaml by name, dependencies first; each is waiting, ready, running, done, failed or stopped."""

    def __init__(self, received: list[int]) -> None:
        self.received = received
        self.repo = open_repo()
        self.needs: dict[str, set[str]] = {}
        self.alone: set[str] = set()  # those with `meta: {alone: true}`, which time something
        self.state: dict[str, str] = {}
        self.running: dict[str, StageProcess] = {}
        self.failures: dict[str, str] = {}
        self.seconds: dict[str, float] = read_json(SECONDS) if SECONDS.exists() else {}
        columns = TextColumn("{task.description}", markup=False), BarColumn(20), MofNCompleteColumn(), Pace()
        self.screen = Progress(*columns, speed_estimate_period=3600, refresh_per_second=2, transient=True)
        self.rows: dict[str, TaskID] = {}

    def run(self, jobs: int | None) -> None:
        """Run what is out of date until nothing is left that can, or a signal is received, on which all are stopped."""
        known = locked()
        self.decide()
        self.total = len(self.names("waiting", "ready"))
        if not self.total:
            print("every stage is up to date")
            return
        self.gpus, cores = gpus_and_cores()
        self.jobs = jobs or len(self.gpus) or cores
        self.screen.disable = not self.screen.console.is_terminal
        with self.screen:
            self.whole = self.screen.add_task("all stages", total=self.total)
            try:
                self.start()
                while self.running and not self.received:
                    self.follow()
                    if any(self.may_run(name) for name in self.names("waiting")):
                        self.decide()
                    self.start()
            finally:
                if self.running:
                    print(f"stopping {', '.join(self.running)}: training writes its checkpoint first", flush=True)
                while self.running:
                    for process in self.running.values():
                        process.stop()
                    self.follow()
                self.sort_lock(known)

    def decide(self) -> None:
        """Ask DVC of each stage whose dependencies are done whether it has to run, now that they are."""
        with lock_repo(self.repo):
            graph = get_active_graph(self.repo.index.graph)
            plan = plan_repro(graph, list(self.repo.index.stages))
            needs = {stage.addressing: {each.addressing for each in graph.successors(stage)} for stage in plan}
            if self.needs and needs != self.needs:
                raise UserError("dvc.yaml: its stages changed while some of them ran; run it again")
            self.needs, self.alone = needs, {stage.addressing for stage in plan if (stage.meta or {}).get("alone")}
            for name, stage in zip(needs, plan, strict=True):
                if self.state.setdefault(name, "waiting") == "waiting" and self.may_run(name):
                    self.state[name] = "ready" if stage.changed() else "done"

    def may_run(self, name: str) -> bool:
        return all(self.state[each] == "done" for each in self.needs[name])

    def names(self, *states: str) -> list[str]:
        return [name for name, state in self.state.items() if state in states]

    def expected(self, name: str) -> float:
        """Seconds of a stage: what it took here last, else the mean of its matrix, else of all, else a minute."""
        kind = [seconds for each, seconds in self.seconds.items() if each.split("@")[0] == name.split("@")[0]]
        return self.seconds.get(name) or mean(kind or self.seconds.values() or [60.0])

    def start(self) -> None:
        """Start what is ready, as far as there is room."""
        to_end = seconds_to_end(self.needs, {name: self.expected(name) for name in self.needs})
        while len(self.running) < self.jobs and not self.received:
            if not (name := next_stage(self.names("ready"), self.running, self.alone, to_end)):
                return
            slot = min(set(range(self.jobs)) - {process.slot for process in self.running.values()})
            gpu = {"CUDA_VISIBLE_DEVICES": self.gpus[slot % len(self.gpus)]} if self.gpus else {}
            self.running[name] = StageProcess(name, slot, {} if name in self.alone else ONE_THREAD | gpu)
            self.rows[name] = self.screen.add_task(name, total=None)
            self.state[name] = "running"

    def follow(self) -> None:
        """Wait a moment, then print what the stages printed and which of them ended."""
        time.sleep(0.1)
        for name, process in list(self.running.items()):
            status, took = process.process.poll(), time.monotonic() - process.begun
            for line in process.new_lines():
                if counted := re.search(r"\b(\d+)/(\d+)\b", line):  # epochs, say
                    self.screen.update(self.rows[name], completed=int(counted[1]), total=int(counted[2]))
                print(f"{name}: {line}", flush=True)
            if status is None:
                continue
            del self.running[name]
            self.screen.remove_task(self.rows.pop(name))
            self.state[name] = "done" if status == 0 else "stopped" if process.told_to_stop else "failed"
            print(f"{name}: {self.state[name]} after {tqdm.format_interval(took)}", flush=True)
            if status == 0:
                self.seconds[name] = took
                write_json(SECONDS, self.seconds)
            elif not process.told_to_stop:
                self.failures[name] = process.reason()
        left = {name: self.expected(name) for name in self.names("waiting", "ready")}
        for name, process in self.running.items():
            left[name] = max(0.0, process.begun + self.expected(name) - time.monotonic())
        needs = {name: self.needs[name] for name in self.needs if name in left}
        all_left = makespan(needs, left, self.alone, self.jobs)
        self.screen.update(self.whole, completed=self.total - len(left), left=all_left)

    def sort_lock(self, known: list[str]) -> None:
        """Put the stages that are new in dvc.lock into the order in which a plain `dvc repro` adds them."""
        new = [name for name in locked() if name not in known]
        if new != (wanted := sorted(new, key=list(self.needs).index)):
            with self.repo.lock, modify_yaml(LOCK, self.repo.fs) as lock:
                for name in wanted:
                    lock["stages"][name] = lock["stages"].pop(name)


def gpus_and_cores() -> tuple[list[str], int]:
    """What stages may use of this machine; GPUs as CUDA_VISIBLE_DEVICES names them."""
    from harness.records.provenance import hardware  # which takes a tenth of the time of a run with nothing to do

    machine = hardware()
    every = ",".join(map(str, range(len(machine["gpus"]))))
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", every).split(",")
    return [gpu for gpu in visible if gpu and every], machine["cores"]


def locked() -> list[str]:
    """The stages of dvc.lock in its order, read without YAML, which would take half a second."""
    return re.findall(r"^  (\S+):$", LOCK.read_text(), re.MULTILINE) if LOCK.exists() else []
