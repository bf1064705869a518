"""A task of the Slurm array: one model and seed, trained on all of its allocation and evaluated, across requeues."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import submitit
from submitit.helpers import DelayedSubmission

from harness.base import paths
from harness.base.errors import UserError
from harness.base.files import sha256_of
from harness.config.params import Params, load
from harness.records.provenance import data_fingerprint, evaluation_parameters, stage_parameters

CHECKPOINT_WAIT = 240  # seconds for the training to finish its step and write its checkpoint, of submit's SIGNAL_DELAY
TIMED_OUT = signal.Signals[f"SIG{submitit.JobEnvironment.USR_SIG}"]  # what submitit asks Slurm for: SIGUSR2


@dataclass(frozen=True)
class Allocation:
    """What a task asks of Slurm; `gpus` and `cpus` are a node's, 0 GPUs train in one process a node on its CPU."""

    nodes: int = 1
    gpus: int = 1
    cpus: int = 8
    hours: float = 24.0
    memory: int | None = None
    partition: str | None = None
    account: str | None = None
    at_once: int = 256

    @property
    def processes(self) -> int:
        """Training processes on a node."""
        return max(1, self.gpus)


@dataclass(frozen=True)
class Task:
    """One run: train what is not trained, then evaluate. submitit pickles it, and calls it on every node at once."""

    model: str
    seed: int
    params: Path
    root: Path
    allocation: Allocation

    @property
    def title(self) -> str:
        return f"{self.model}-{self.seed}"

    def __call__(self) -> None:
        """Raises UserError where a command fails, with the log's path; requeues, and does not return, on a signal."""
        os.chdir(self.root)
        job = submitit.JobEnvironment()
        if not is_trained(load(self.params), self.model, self.seed):
            self._run(train_command(self, job), job)
        if job.global_rank == 0:
            self._run(stage_command(self, "evaluate"), job)

    def checkpoint(self) -> DelayedSubmission:
        """What submitit queues again: the same, as the training's checkpoint is on disk."""
        return DelayedSubmission(self)

    def _run(self, command: list[str], job: submitit.JobEnvironment) -> None:
        print(shlex.join(command), flush=True)
        with _signals() as received:
            status = _run_to_its_end(command, self.allocation, received)
        if TIMED_OUT in received:
            signal.raise_signal(TIMED_OUT)  # to submitit: on the first node it requeues and exits, on others it returns
        if received:
            _wait_for_slurm()
        if status:
            raise UserError(
                f"{self.title}: `{shlex.join(command)}` ended with status {status}; "
                f"its log is {job.paths.stdout}, and submitting again goes on from its checkpoint"
            )


def is_trained(params: Params, model: str, seed: int) -> bool:
    """Whether weights are here, and made with these parameters and this data."""
    record = paths.training_results(params.preset, model, seed) / "run.json"
    weights = paths.run(params.preset, model, seed) / "model.safetensors"
    return weights.is_file() and _made_with(record, stage_parameters(params, model), params) is not None


def is_evaluated(params: Params, model: str, seed: int) -> bool:
    """Whether predictions are here, made with these parameters and this data, and from the weights that are here."""
    if not (is_trained(params, model, seed) and paths.predictions(params.preset, model, seed).is_file()):
        return False
    record = paths.evaluation_results(params.preset, model, seed) / "evaluation.json"
    made = _made_with(record, evaluation_parameters(params, model), params)
    weights = paths.run(params.preset, model, seed) / "model.safetensors"
    return made is not None and made.get("weights_sha256") == sha256_of(weights)


def _made_with(record: Path, parameters: dict[str, Any], params: Params) -> dict[str, Any] | None:
    """The record of a result; None where it is not here, or is of other parameters or data."""
    try:
        content: dict[str, Any] = json.loads(record.read_text())
        same = {name: content["parameters"][name] for name in parameters} == parameters
        return content if same and content["data_fingerprint"] == data_fingerprint(params) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def stage_command(task: Task, stage: str) -> list[str]:
    """A stage in one process."""
    run = ["--params", str(task.params), "--model", task.model, "--seed", str(task.seed)]
    return [sys.executable, "-m", "harness", stage, *run]


def train_command(task: Task, job: submitit.JobEnvironment) -> list[str]:
    """The training on this node: one process, or torchrun's, which meet those of the other nodes at the first."""
    allocation, stage = task.allocation, stage_command(task, "train")
    if allocation.nodes * allocation.processes == 1:
        return stage
    torchrun = [stage[0], "-m", "torch.distributed.run", f"--nproc-per-node={allocation.processes}"]
    if allocation.nodes == 1:
        torchrun.append("--standalone")
    else:
        port = 20_000 + zlib.crc32(job.job_id.encode()) % 10_000  # the same on every node, and another for another job
        torchrun += [
            f"--nnodes={allocation.nodes}",
            "--rdzv-backend=c10d",
            f"--rdzv-id={job.job_id}",
            f"--rdzv-endpoint={job.hostnames[0]}:{port}",
            f"--local-addr={job.hostnames[job.node]}",
        ]
    return [*torchrun, *stage[1:]]


@contextmanager
def _signals() -> Iterator[list[int]]:
    """The time-outs and terminations received so far; while this is open they do nothing else."""
    received: list[int] = []
    caught = (TIMED_OUT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda number, frame: received.append(number)) for number in caught}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _run_to_its_end(command: Sequence[str], allocation: Allocation, received: list[int]) -> int:
    """Run a command and return its exit status; a signal that is received makes it write a checkpoint and end."""
    environment = os.environ | {
        "OMP_NUM_THREADS": str(max(1, allocation.cpus // allocation.processes)),
        "HF_HUB_OFFLINE": "1",  # compute nodes often have no network: weights come from the cache or a file
    }
    signal.pthread_sigmask(signal.SIG_BLOCK, {TIMED_OUT})  # a child inherits it: Slurm may signal children as well
    try:
        process = subprocess.Popen(command, env=environment)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {TIMED_OUT})
    while process.poll() is None and not received:
        time.sleep(0.2)
    if process.poll() is None:
        print(f"{signal.Signals(received[0]).name}: waiting for the checkpoint", flush=True)
        _signal_trainers(process, signal.SIGTERM)  # once: a second one ends the training without a checkpoint
        try:
            process.wait(CHECKPOINT_WAIT)
        except subprocess.TimeoutExpired:
            print(f"no checkpoint within {CHECKPOINT_WAIT} seconds: going back to the one before", flush=True)
            _signal_trainers(process, signal.SIGKILL)
    return process.wait()


def _signal_trainers(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Signal the training processes themselves: torchrun kills them 30 seconds after it has passed a SIGTERM on."""
    trainers = [process.pid]
    if "torch.distributed.run" in process.args:  # type: ignore[operator]
        with contextlib.suppress(OSError):
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            trainers = [int(child) for child in children] or trainers
    for trainer in trainers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(trainer, number)


def _wait_for_slurm() -> None:
    """Hold the job until Slurm ends it, perhaps to run it again after a preemption; an exit would fail the job."""
    print("stopped; waiting for Slurm to end or requeue the job", flush=True)
    while True:
        time.sleep(60)
