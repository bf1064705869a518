"""`python -m harness submit`: the runs of the training matrix as a Slurm job array, each requeued until it is done."""

from __future__ import annotations

import contextlib
import io
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import submitit
from submitit.helpers import DelayedSubmission
from submitit.slurm import slurm

from harness.base.errors import UserError
from harness.config.params import Params
from harness.records.provenance import data_fingerprint
from harness.running.array_task import Allocation, Task, is_evaluated, is_trained

SIGNAL_DELAY = 300  # seconds before its time limit that Slurm signals a job; of up to 600 submitit sees a time-out
REQUEUES = 10_000  # time-outs after which submitit gives up: more than a run needs


def submit(params: Params, path: Path, allocation: Allocation, folder: Path, dry_run: bool) -> None:
    """Submit an array with a task for each model and seed that has no result and is not queued; print one line each.

    Raises UserError where Slurm is missing or refuses, or the parameters do not suit the allocation or the data.
    """
    tasks = unfinished(params, path, allocation)
    settings = slurm_settings(params, allocation)
    if tasks and dry_run:
        print(sbatch_file(settings, folder, len(tasks)), end="")
        return
    if tasks:
        executor = _executor(folder)
        queued = _queued(executor.folder)
        for task in [task for task in tasks if task.title in queued]:
            print(f"{queued[task.title]} {task.title} is in the queue already")
            tasks.remove(task)
    if not tasks:
        print("nothing to submit: every run of the matrix has its result or is queued")
        return
    executor.update_parameters(**settings)
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # submitit would print what the error says
            jobs = executor.submit_array(tasks)
    except submitit.core.utils.FailedJobError as error:
        raise UserError(str(error)) from error
    for task, job in zip(tasks, jobs, strict=True):
        print(f"{job.job_id} {task.title} {job.paths.stdout}")


def unfinished(params: Params, path: Path, allocation: Allocation) -> list[Task]:
    """A task for each model and seed without weights and predictions of these parameters and this data.

    Raises UserError where packed clips are missing, or the processes cannot share a batch evenly.
    """
    _check(allocation)
    data_fingerprint(params)  # or says that there are none
    batch, processes = params.train.batch, allocation.nodes * allocation.processes
    micro_batch = params.train.micro_batch or batch
    if batch % (micro_batch * processes):
        raise UserError(
            f"train.batch: is {batch}, must be a multiple of train.micro_batch, {micro_batch}, "
            f"times {processes} processes (--nodes x --gpus)"
        )
    return [
        Task(model, seed, path.absolute(), Path.cwd(), allocation)
        for seed in params.seeds
        for model in params.models
        if not (is_trained(params, model, seed) and is_evaluated(params, model, seed))
    ]


def _check(allocation: Allocation) -> None:
    least = {"nodes": 1, "gpus": 0, "cpus": 1, "hours": 0.25, "memory": 1, "at_once": 1}
    for name, minimum in least.items():
        value = getattr(allocation, name)
        if value is not None and not value >= minimum:
            raise UserError(f"--{name.replace('_', '-')}: is {value}, must be at least {minimum}")


def slurm_settings(params: Params, allocation: Allocation) -> dict[str, Any]:
    """The sbatch file's lines, as submitit names them."""
    settings = {
        "job_name": f"harness-{params.preset}",
        "time": round(allocation.hours * 60),
        "nodes": allocation.nodes,
        "ntasks_per_node": 1,
        "gpus_per_node": allocation.gpus or None,
        "cpus_per_task": allocation.cpus,
        "mem": f"{allocation.memory}GB" if allocation.memory else None,
        "partition": allocation.partition,
        "account": allocation.account,
        "array_parallelism": allocation.at_once,
        "signal_delay_s": SIGNAL_DELAY,
        "stderr_to_stdout": True,
        "additional_parameters": {"requeue": True},  # some clusters refuse `scontrol requeue` without it
        "srun_args": [  # srun does not take the CPUs over from sbatch; a node that fails must not leave others waiting
            f"--cpus-per-task={allocation.cpus}",
            "--kill-on-bad-exit=1",
        ],
    }
    return {name: value for name, value in settings.items() if value is not None}


def sbatch_file(settings: dict[str, Any], folder: Path, tasks: int) -> str:
    """The text of the file that submitit hands to sbatch for so many tasks."""
    command = f"{shlex.quote(sys.executable)} -u -m submitit.core._submit {shlex.quote(str(folder.absolute()))}"
    return slurm._make_sbatch_string(command, folder.absolute(), map_count=tasks if tasks > 1 else None, **settings)


def _executor(folder: Path) -> submitit.SlurmExecutor:
    try:
        return submitit.SlurmExecutor(folder, max_num_timeout=REQUEUES)
    except RuntimeError as error:
        raise UserError(
            "srun: not found; submit on a cluster's login node, or take --dry-run, which prints the sbatch file"
        ) from error


def _queued(folder: Path) -> dict[str, str]:
    """Job ids of the user's queued or running tasks that were submitted with this folder, by title."""
    command = ["squeue", "--me", "--array", "--noheader", "--format=%i"]
    listing = subprocess.run(command, capture_output=True, text=True, check=False)
    if listing.returncode:
        raise UserError(f"squeue: {listing.stderr.strip()}")
    pickles = {job: folder / f"{job}_submitted.pkl" for job in listing.stdout.split()}
    return {DelayedSubmission.load(path).function.title: job for job, path in pickles.items() if path.is_file()}  # type: ignore[attr-defined]
