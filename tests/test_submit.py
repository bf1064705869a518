"""`python -m harness submit`: a task's commands, the sbatch file, and real tasks under submitit's local executor."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import submitit
import yaml

from harness.config.params import load
from harness.records.provenance import evaluation_parameters
from harness.running.array_task import TIMED_OUT, Allocation, Task, stage_command, train_command
from harness.running.submit import REQUEUES, unfinished
from tests.conftest import ROOT, unshared

MODELS = ("fastvit_audio_sa24", "fastvit_dcls_audio_sa24")
MODEL = MODELS[0]
# a stand-in for `python -m harness`: it counts to `last` in steps that it checkpoints on SIGTERM, then files a result
STAND_IN = """
import os, pathlib, shutil, signal, sys, time
arguments = dict(zip(sys.argv[2::2], sys.argv[3::2]))
name = f"{arguments['--model']}-{arguments['--seed']}"
run, result = pathlib.Path(f"runs/instruments/{name}"), pathlib.Path(f"results/instruments/runs/{name}")
if sys.argv[1] == "evaluate":
    pathlib.Path("predictions/instruments").mkdir(parents=True)
    pathlib.Path(f"predictions/instruments/{name}.npz").write_text("")
    shutil.copy("made_by.json", result / "evaluation" / "evaluation.json")
    sys.exit()
if pathlib.Path("broken").exists():
    sys.exit(3)
rank, state, stopped = os.environ.get("RANK", "0"), pathlib.Path("state"), []
signal.signal(signal.SIGTERM, lambda number, frame: stopped.append(number))
step = int(state.read_text()) if state.exists() else 0
print(f"rank {rank} of {os.environ.get('WORLD_SIZE', 1)} begins at step {step}", flush=True)
step += 1
pathlib.Path(f"rank-{rank}.step-{step}").write_text(os.environ["OMP_NUM_THREADS"])
while step < int(pathlib.Path("last").read_text()) and not stopped:
    time.sleep(0.05)
if stopped:
    if rank == "0":
        print(f"checkpoint of step {step} after {len(stopped)} signal", flush=True)
        state.write_text(str(step))
    while not state.exists() or state.read_text() != str(step):
        time.sleep(0.05)
    sys.exit(143)
if rank != "0":
    sys.exit()
run.mkdir(parents=True)
(result / "training").mkdir(parents=True)
(result / "evaluation").mkdir()
(run / "model.safetensors").write_text("")
shutil.copy("made_by.json", result / "training" / "run.json")
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder like the repository's, with two models and two seeds to train and the stand-in for the harness."""
    content = yaml.safe_load((ROOT / "presets" / "instruments.yaml").read_text())
    content |= {"models": list(MODELS), "seeds": [0, 1]}
    content["train"] |= {"batch": 64, "micro_batch": 4}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(content))
    (tmp_path / "data" / "packed" / "instruments").mkdir(parents=True)
    (tmp_path / "data" / "packed" / "instruments" / "summary.json").write_text('{"fingerprint": "abc"}')
    made_by = {"parameters": evaluation_parameters(load(tmp_path / "params.yaml"), MODEL), "data_fingerprint": "abc"}
    made_by["weights_sha256"] = hashlib.sha256(b"").hexdigest()  # of the stand-in's empty weights
    (tmp_path / "made_by.json").write_text(json.dumps(made_by))
    (tmp_path / "last").write_text("3")
    (tmp_path / "harness").mkdir()
    (tmp_path / "harness" / "__main__.py").write_text(STAND_IN)
    return tmp_path


def submit(folder: Path, *options: str, path: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "import sys, harness.__main__ as m; sys.exit(m.main())", "submit", *options]
    environment = os.environ | {"PATH": path or "/nowhere", "PYTHONPATH": str(ROOT)}
    (folder / "harness").rename(folder / "stand_in")  # the command line is the real one
    try:
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    finally:
        (folder / "stand_in").rename(folder / "harness")


def finish(root: Path, model: str, seed: int, parameters_of: str, fingerprint: str = "abc") -> None:
    """Files as a finished run leaves them."""
    record = {
        "parameters": evaluation_parameters(load(root / "params.yaml"), parameters_of),
        "data_fingerprint": fingerprint,
        "weights_sha256": hashlib.sha256(b"").hexdigest(),
    }
    result = root / "results" / "instruments" / "runs" / f"{model}-{seed}"
    weights = root / "runs" / "instruments" / f"{model}-{seed}" / "model.safetensors"
    predictions = root / "predictions" / "instruments" / f"{model}-{seed}.npz"
    for path, text in (
        (result / "training" / "run.json", json.dumps(record)),
        (weights, ""),
        (result / "evaluation" / "evaluation.json", json.dumps(record)),
        (predictions, ""),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def wait_for(condition: Callable[[], bool], job: submitit.Job[None]) -> None:
    until = time.monotonic() + 90
    while not condition():
        assert time.monotonic() < until, job.stdout()
        time.sleep(0.05)


def start(root: Path, gpus: int) -> submitit.Job[None]:
    executor = submitit.LocalExecutor(root / "logs", max_num_timeout=REQUEUES)
    executor.update_parameters(timeout_min=3, stderr_to_stdout=True)
    return executor.submit(Task(MODEL, 0, root / "params.yaml", root, Allocation(gpus=gpus, cpus=6)))


def pid_of_task(job: submitit.Job[None]) -> int:
    """The process that submitit started for the task: a child of the local executor's controller."""
    children = Path(f"/proc/{job.job_id}/task/{job.job_id}/children").read_text().split()
    return int(children[0])


@pytest.mark.parametrize(("gpus", "timeouts"), [(1, 2), (2, 1)])
def test_a_timed_out_task_is_requeued_with_its_checkpoint_until_it_is_done(
    root: Path, gpus: int, timeouts: int
) -> None:
    """Interrupted, then finished and evaluated; with two GPUs through a real torchrun."""
    (root / "last").write_text(str(timeouts + 1))
    job = start(root, gpus)
    for step in range(1, timeouts + 1):
        wait_for(lambda step=step: all((root / f"rank-{rank}.step-{step}").exists() for rank in range(gpus)), job)
        os.kill(pid_of_task(job), TIMED_OUT)
    job.result()
    log = job.stdout() or ""
    for rank in range(gpus):
        lines = [line for line in log.splitlines() if line.startswith((f"rank {rank} ", "checkpoint "))]
        expected = [f"rank {rank} of {gpus} begins at step 0"]
        for step in range(1, timeouts + 1):
            expected += [
                f"checkpoint of step {step} after 1 signal",
                f"rank {rank} of {gpus} begins at step {step}",
            ]
        assert lines == expected
    assert "death signal" not in log  # torchrun, which kills after 30 seconds, was not signalled itself
    assert (root / "rank-0.step-1").read_text() == str(6 // gpus)
    assert (root / "predictions" / "instruments" / f"{MODEL}-0.npz").exists()


def test_a_terminated_task_checkpoints_and_leaves_it_to_slurm_what_comes_next(root: Path) -> None:
    job = start(root, 1)
    wait_for((root / "rank-0.step-1").exists, job)
    task = pid_of_task(job)
    os.kill(task, signal.SIGTERM)
    wait_for(lambda: "waiting for Slurm" in (job.stdout() or ""), job)
    assert (root / "state").read_text() == "1" and job.state == "RUNNING"
    os.kill(task, TIMED_OUT)
    wait_for((root / "rank-0.step-2").exists, job)
    os.kill(pid_of_task(job), TIMED_OUT)
    job.result()


def test_a_task_that_finished_training_only_evaluates(root: Path) -> None:
    finish(root, MODEL, 0, MODEL)
    (root / "predictions" / "instruments" / f"{MODEL}-0.npz").unlink()
    (root / "predictions" / "instruments").rmdir()
    (root / "broken").touch()
    job = start(root, 1)
    job.result()
    assert (root / "predictions" / "instruments" / f"{MODEL}-0.npz").exists()


def test_a_failed_task_names_status_and_log(root: Path) -> None:
    (root / "broken").touch()
    job = start(root, 1)
    message = str(job.exception())
    assert f"{MODEL}-0: `" in message and "ended with status 3" in message and str(job.paths.stdout) in message
    assert not (root / "predictions").exists()


def test_commands_of_a_task(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    slurm = {"JOB_ID": "9", "ARRAY_JOB_ID": "7", "ARRAY_TASK_ID": "2", "JOB_NUM_NODES": "2", "NODEID": "1"}
    for name, value in (slurm | {"JOB_NODELIST": "gpu[03-04]"}).items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    monkeypatch.setenv("SUBMITIT_EXECUTOR", "slurm")
    job = submitit.JobEnvironment()
    stage = ["-m", "harness", "train", "--params", str(tmp_path / "p.yaml"), "--model", MODEL, "--seed", "3"]

    def command(**allocation: int) -> list[str]:
        return train_command(Task(MODEL, 3, tmp_path / "p.yaml", tmp_path, Allocation(**allocation)), job)

    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=8"]
    assert command(gpus=1) == command(gpus=0) == [sys.executable, *stage]
    assert command(gpus=8) == [*torchrun, "--standalone", *stage]
    port = command(nodes=2, gpus=8)[7].rpartition(":")[2]
    assert 20_000 <= int(port) < 30_000
    meeting = ["--nnodes=2", "--rdzv-backend=c10d", "--rdzv-id=7_2", f"--rdzv-endpoint=gpu03:{port}"]
    assert command(nodes=2, gpus=8) == [*torchrun, *meeting, "--local-addr=gpu04", *stage]
    task = Task(MODEL, 3, tmp_path / "p.yaml", tmp_path, Allocation(nodes=2, gpus=8))
    assert stage_command(task, "evaluate") == [sys.executable, "-m", "harness", "evaluate", *stage[3:]]


def test_the_sbatch_file(root: Path) -> None:
    options = "--nodes 2 --gpus 8 --cpus 96 --hours 12 --memory 500 --at-once 3 --partition gpu --account lab --dry-run"
    done = submit(root, *options.split())
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    flags = {line.removeprefix("#SBATCH --") for line in lines if line.startswith("#SBATCH")}
    assert flags == {
        "array=0-3%3",
        "nodes=2",
        "ntasks-per-node=1",
        "gpus-per-node=8",
        "cpus-per-task=96",
        "mem=500GB",
        "time=720",
        "signal=USR2@300",
        "requeue",
        "open-mode=append",
        "job-name=harness-instruments",
        f"output={root}/.cache/slurm/%A_%a_0_log.out",
        "partition=gpu",
        "account=lab",
        "wckey=submitit",
    }
    srun = f"srun --unbuffered --output {root}/.cache/slurm/%A_%a_%t_log.out --cpus-per-task=96 --kill-on-bad-exit=1 "
    assert lines[-1] == f"{srun}{shlex.quote(sys.executable)} -u -m submitit.core._submit {root}/.cache/slurm"
    assert not (root / ".cache").exists()


def test_what_is_submitted_is_what_dry_run_shows_and_what_is_queued_is_left_out(root: Path, tmp_path: Path) -> None:
    slurm = tmp_path / "bin"  # as much of Slurm as submitting needs: sbatch keeps its file, squeue shows two tasks
    slurm.mkdir()
    for name, script in {
        "srun": "exit 1",
        "sbatch": f"/bin/cat $1 > {tmp_path}/submitted; echo Submitted batch job 77",
        "squeue": f"[ ! -e {tmp_path}/submitted ] || echo 77_0 77_3 5_1",
    }.items():
        (slurm / name).write_text(f"#!/bin/sh\n{script}\n")
        (slurm / name).chmod(0o755)
    dry = submit(root, "--dry-run", path=str(slurm))
    done = submit(root, path=str(slurm))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "submitted").read_text() == dry.stdout
    logs = root / ".cache" / "slurm"
    assert done.stdout.splitlines() == [
        f"77_0 {MODELS[0]}-0 {logs}/77_0_0_log.out",
        f"77_1 {MODELS[1]}-0 {logs}/77_1_0_log.out",
        f"77_2 {MODELS[0]}-1 {logs}/77_2_0_log.out",
        f"77_3 {MODELS[1]}-1 {logs}/77_3_0_log.out",
    ]
    again = submit(root, path=str(slurm)).stdout.splitlines()
    assert again[:2] == [
        f"77_0 {MODELS[0]}-0 is in the queue already",
        f"77_3 {MODELS[1]}-1 is in the queue already",
    ]
    assert [line.split()[1] for line in again[2:]] == [f"{MODELS[1]}-0", f"{MODELS[0]}-1"]

    (slurm / "sbatch").write_text("#!/bin/sh\necho sbatch: error: invalid partition specified: x >&2; exit 1\n")
    refused = submit(root, path=str(slurm))
    assert refused.returncode == 2 and "invalid partition specified: x" in refused.stderr.splitlines()[-1]
    assert refused.stderr.count("\n") == 1


def test_finished_runs_are_left_out_and_those_of_other_parameters_or_data_are_not(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root)

    def titles() -> list[str]:
        return [task.title for task in unfinished(load(Path("params.yaml")), Path("params.yaml"), Allocation())]

    assert titles() == [f"{model}-{seed}" for seed in (0, 1) for model in MODELS]
    finish(root, MODELS[0], 0, MODELS[0])
    finish(root, MODELS[1], 0, MODELS[1])
    assert titles() == [f"{MODELS[0]}-1", f"{MODELS[1]}-1"]
    finish(root, MODELS[0], 1, MODELS[0], "other data")
    assert f"{MODELS[0]}-1" in titles()
    weights = root / "runs" / "instruments" / f"{MODELS[1]}-0" / "model.safetensors"
    weights.write_text("trained again")  # what was evaluated are the weights before these
    assert f"{MODELS[1]}-0" in titles()
    finish(root, MODELS[1], 0, MODELS[1])
    assert f"{MODELS[1]}-0" not in titles()
    content = unshared(yaml.safe_load((root / "params.yaml").read_text()))
    content["systems"][MODELS[0]]["schedule"]["learning_rate"] = 0.5
    (root / "params.yaml").write_text(yaml.safe_dump(content))
    assert f"{MODELS[0]}-0" in titles() and f"{MODELS[1]}-0" not in titles()
    content["evaluate"]["batch"] += 1
    (root / "params.yaml").write_text(yaml.safe_dump(content))
    assert f"{MODELS[1]}-0" not in titles()  # it changes no number
    content["evaluate"]["bootstrap"] += 1
    (root / "params.yaml").write_text(yaml.safe_dump(content))
    assert f"{MODELS[1]}-0" in titles()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "srun: not found; submit on a cluster's login node, or take --dry-run"),
        (
            ("--gpus", "3"),
            "train.batch: is 64, must be a multiple of train.micro_batch, 4, times 3 processes (--nodes x --gpus)",
        ),
        (("--nodes", "0"), "--nodes: is 0, must be at least 1"),
        (("--hours", "0.1"), "--hours: is 0.1, must be at least 0.25"),
        (("--hours", "nan"), "--hours: is nan, must be at least 0.25"),
        (("--at-once", "0"), "--at-once: is 0, must be at least 1"),
        (("--params", "gone.yaml"), "gone.yaml: missing"),
    ],
)
def test_what_cannot_be_submitted_is_one_line(root: Path, options: tuple[str, ...], said: str) -> None:
    done = submit(root, *options)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith(f"error: {said}") and done.stderr.count("\n") == 1, done.stderr


def test_nothing_is_submitted_before_there_is_data(root: Path) -> None:
    (root / "data" / "packed" / "instruments" / "summary.json").unlink()
    done = submit(root)
    assert done.returncode == 2 and "data/packed/instruments/summary.json: missing" in done.stderr
