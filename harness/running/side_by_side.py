"""Stages of dvc.yaml that do not depend on each other run side by side."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import mean

from dvc.exceptions import DvcException
from dvc.repo import Repo, lock_repo
from dvc.repo.reproduce import collect_stages, get_active_graph, plan_repro
from dvc.utils.serialize import modify_yaml
from tqdm import tqdm

from harness.base.errors import Stopped, UserError
from harness.base.files import read_json, write_json
from harness.base.lock import alone
from harness.records.provenance import hardware
from harness.running.schedule import makespan, next_stage, seconds_to_end
from harness.running.stage_process import LOGS, StageProcess, in_use

LOCK = Path("dvc.lock")
SECONDS = LOGS / "seconds.json"  # how long each stage took here
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
GUESS = 60.0  # seconds of a stage that never ran here, which only its place in the order depends on


def reproduce(jobs: int | None) -> int:
    """Run what is out of date, `jobs` stages at a time (default: one a GPU, else one a core); 1 where a stage failed.

    Raises Stopped after a signal, once what ran has ended; UserError where DVC cannot read the pipeline, or another
    process works on it.
    """
    if jobs is not None and jobs < 1:
        raise UserError(f"--jobs: {jobs} stages at a time are none; give 1 or more, or leave it out")
    machine = hardware()
    every = ",".join(map(str, range(len(machine["gpus"]))))
    gpus = [each for each in os.environ.get("CUDA_VISIBLE_DEVICES", every).split(",") if each and every]
    with alone(LOGS / "lock", "make repro"), requests_to_stop() as received, in_words():
        pipeline = Pipeline(jobs or len(gpus) or machine["cores"], gpus, received)
        pipeline.run()
    stopped, left = pipeline.names("stopped"), pipeline.names("waiting", "ready")
    for name, why in pipeline.failures.items():
        print(f"failed: {name}: {why}", file=sys.stderr)
    if received:
        raise Stopped(f"stopped: {', '.join(stopped) or 'nothing was running'}; run it again to go on", received[0])
    if left:
        print(f"not run, because of that: {', '.join(left)}", file=sys.stderr)
    return 1 if pipeline.failures else 0


@contextlib.contextmanager
def requests_to_stop() -> Iterator[list[int]]:
    """The signals received so far, a list that grows; SIGHUP is one of them unless nohup ignores it."""
    received: list[int] = []
    wanted = [signal.SIGINT, signal.SIGTERM]
    wanted += [signal.SIGHUP] if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL else []
    before = {number: signal.signal(number, lambda got, _: received.append(got)) for number in wanted}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def in_words() -> Iterator[None]:
    """DVC's errors as UserError."""
    try:
        yield
    except DvcException as error:
        raise UserError(f"dvc: {in_use(str(error)) or error}") from error


def locked() -> list[str]:
    """The stages of dvc.lock in its order, read without YAML, which would take half a second."""
    return re.findall(r"^  (\S+):$", LOCK.read_text(), re.MULTILINE) if LOCK.exists() else []


class Pipeline:
    """The stages of dvc.yaml by name, dependencies first; each is waiting, ready, running, done, failed or stopped."""

    def __init__(self, jobs: int, gpus: list[str], received: list[int]) -> None:
        self.jobs, self.gpus, self.received = jobs, gpus, received
        self.repo = Repo(_wait_for_lock=True)
        self.needs: dict[str, set[str]] = {}
        self.alone: set[str] = set()  # those with `meta: {alone: true}`: they time something
        self.state: dict[str, str] = {}
        self.running: dict[str, StageProcess] = {}
        self.failures: dict[str, str] = {}
        self.seconds: dict[str, float] = read_json(SECONDS) if SECONDS.exists() else {}

    def run(self) -> None:
        """Run what is out of date until nothing is left that can, or a signal is received, on which all are stopped."""
        known = locked()
        self.decide()
        total = len(self.names("waiting", "ready"))
        if not total:
            print("every stage is up to date")
        forms = ["{desc}"] * min(self.jobs, total) + ["{n_fmt}/{total_fmt} stages |{bar}| {elapsed}{desc}"]
        shown = {"leave": False, "dynamic_ncols": True, "disable": total == 0 or not sys.stderr.isatty()}
        self.bars = [tqdm(total=total, position=line, bar_format=form, **shown) for line, form in enumerate(forms)]
        try:
            self.start()
            while self.running and not self.received:
                self.follow()
                if any(self.may_run(name) for name in self.names("waiting")):
                    self.decide()
                self.start()
        finally:
            if self.running:
                self.say([f"stopping {', '.join(self.running)}: training writes its checkpoint first"])
            while self.running:
                for process in self.running.values():
                    process.stop()
                self.follow()
            for bar in self.bars:
                bar.close()
            self.sort_lock(known)

    def decide(self) -> None:
        """Ask DVC of each stage whose dependencies are done whether it has to run, now that they are."""
        with lock_repo(self.repo):
            graph = get_active_graph(self.repo.index.graph)
            plan = plan_repro(graph, collect_stages(self.repo, ["dvc.yaml"]))
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

    def start(self) -> None:
        """Start what is ready, as far as there is room."""
        to_end = seconds_to_end(self.needs, {name: self.expected(name) or GUESS for name in self.needs})
        while len(self.running) < self.jobs and not self.received:
            if not (name := next_stage(self.names("ready"), self.running, self.alone, to_end)):
                return
            slot = min(set(range(self.jobs)) - {process.slot for process in self.running.values()})
            gpu = {"CUDA_VISIBLE_DEVICES": self.gpus[slot % len(self.gpus)]} if self.gpus else {}
            environment = {} if name in self.alone else ONE_THREAD | gpu
            self.running[name] = StageProcess(name, slot, environment, self.expected(name))
            self.state[name] = "running"

    def follow(self) -> None:
        """Wait a moment, then print what the stages printed, take in which of them ended, and redraw the bars."""
        time.sleep(0.1)
        said = []
        for name, process in list(self.running.items()):
            status, took = process.process.poll(), time.monotonic() - process.begun
            said += [f"{name}: {line}" for line in process.new_lines()]
            if status is None:
                continue
            del self.running[name]
            self.state[name] = "done" if status == 0 else "stopped" if process.told else "failed"
            said.append(f"{name}: {self.state[name]} after {tqdm.format_interval(took)}")
            if status == 0:
                self.seconds[name] = took
                write_json(SECONDS, self.seconds)
            elif not process.told:
                self.failures[name] = f"{process.reason()}; {process.log} has all that it printed"
        self.say(said)
        lines = {process.slot: f"{name} {process.pace()}" for name, process in self.running.items()}
        for slot, bar in enumerate(self.bars[:-1]):
            bar.set_description_str(lines.get(slot, ""))
        if not self.bars[-1].disable:
            self.bars[-1].n = self.bars[-1].total - len(self.names("waiting", "ready", "running"))
            self.bars[-1].set_description_str(self.time_left())

    def say(self, lines: list[str]) -> None:
        with tqdm.external_write_mode():
            print(*lines, sep="\n", end="\n" * bool(lines), flush=True)

    def expected(self, name: str) -> float | None:
        """Seconds that a stage takes: as many as the last time here, else as others of its matrix."""
        kind = [seconds for each, seconds in self.seconds.items() if each.split("@")[0] == name.split("@")[0]]
        return self.seconds.get(name) or (mean(kind) if kind else None)

    def time_left(self) -> str:
        """Until all is done; empty where a stage's seconds are not known."""
        left = {name: self.expected(name) for name in self.names("waiting", "ready")}
        left |= {name: process.left() for name, process in self.running.items()}
        if None in left.values():
            return ""
        seconds = {name: left[name] or 0.0 for name in self.needs if name in left}
        needs = {name: self.needs[name] for name in seconds}
        return f", {tqdm.format_interval(makespan(needs, seconds, self.alone, self.jobs))} left"

    def sort_lock(self, known: list[str]) -> None:
        """Put the stages that dvc.lock did not have into the order in which a plain `dvc repro` would have added them."""
        new = [name for name in locked() if name not in known]
        if new != (wanted := sorted(new, key=list(self.needs).index)):
            with self.repo.lock, modify_yaml(LOCK, self.repo.fs) as lock:
                for name in wanted:
                    lock["stages"][name] = lock["stages"].pop(name)
