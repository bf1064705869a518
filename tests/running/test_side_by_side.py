"""`python -m harness repro`: stages side by side, in small DVC repositories, with real processes and signals."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from harness.running.schedule import makespan, seconds_to_end
from tests.conftest import ROOT

ENVIRONMENT = os.environ | {
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "PYTHONPATH": str(ROOT),
    "DVC_NO_ANALYTICS": "true",
    "GIT_CONFIG_GLOBAL": os.devnull,
}
REPRO = (sys.executable, "-m", "harness", "repro")
# what a stage does that is stopped the way training is: on a signal it writes how far it is, and goes on from there
STOPPABLE = """
import pathlib, signal, sys, time
name = sys.argv[1]
state, stopped = pathlib.Path(name + ".state"), []
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda got, _: stopped.append(got))
first = int(state.read_text()) if state.exists() else 0
print("going on after epoch", first, flush=True)
for epoch in range(first, first + 5 if first else 600):
    time.sleep(0.05)
    if stopped:
        time.sleep(1)  # as long as a checkpoint takes
        state.write_text(str(epoch + 1))
        sys.exit(128 + stopped[0])
pathlib.Path("out/" + name).write_text("trained")
"""


def repository(folder: Path, stages: dict[str, Any]) -> Path:
    """A DVC repository with these stages, whose outputs Git ignores."""
    folder.mkdir(exist_ok=True)
    for command in (("git", "init", "--quiet"), ("dvc", "init", "--quiet")):
        subprocess.run(command, cwd=folder, env=ENVIRONMENT, check=True)
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}, sort_keys=False))
    (folder / ".gitignore").write_text("out/\n.cache/\n")
    (folder / "out").mkdir()
    (folder / "source").write_text("1")
    return folder


def stage(name: str, command: str, *deps: str, **more: Any) -> dict[str, Any]:
    """A stage that logs its name in runs.txt and runs `command`; its output is out/NAME, by default its name."""
    command = f"set -e; echo {name} >> runs.txt; {command}; test -e out/{name} || echo {name} > out/{name}"
    return {
        name: {"cmd": command, "deps": [f"out/{each}" for each in deps] or ["source"], "outs": [f"out/{name}"]} | more
    }


def run(folder: Path, *command: str, status: int = 0) -> str:
    done = subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def runs(folder: Path) -> list[str]:
    """The stages that ran since the last call, sorted."""
    log = folder / "runs.txt"
    ran = sorted(log.read_text().split()) if log.exists() else []
    log.unlink(missing_ok=True)
    return ran


def diamond() -> dict[str, Any]:
    stages = stage("fetch", "cat source > out/fetch")
    for each in "abcd":
        stages |= stage(f"train-{each}", f"sleep 0.2; (cat out/fetch; echo {each}) > out/train-{each}", "fetch")
    figures = {"outs": [{"out/figures": {"cache": False}}], "metrics": [{"out/scores.json": {"cache": False}}]}
    merge = "cat out/train-* > out/figures; echo {} > out/scores.json"
    return stages | stage("figures", merge, *(f"train-{each}" for each in "abcd"), **figures)


def files(folder: Path) -> dict[str, bytes]:
    kept = [*folder.glob("out/*"), folder / "dvc.lock", folder / ".gitignore", *folder.glob(".dvc/cache/**/*")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in kept if path.is_file()}


def test_a_frozen_stage_does_not_run_and_those_after_it_do(tmp_path: Path) -> None:
    """`dvc freeze throughput`: the tables do not wait for timings that somebody does not want."""
    stages = stage("parameters", "cat source > out/parameters") | stage("throughput", "true", "parameters")
    stages |= stage("tables", "cat out/parameters > out/tables", "throughput", "parameters")
    folder = repository(tmp_path, stages)
    run(folder, *REPRO)
    assert runs(folder) == ["parameters", "tables", "throughput"]
    run(folder, "dvc", "freeze", "throughput")
    (folder / "source").write_text("2")
    run(folder, *REPRO)
    assert runs(folder) == ["parameters", "tables"]
    assert (folder / "out" / "tables").read_text() == "2"
    run(folder, "dvc", "unfreeze", "throughput")
    run(folder, *REPRO)
    assert runs(folder) == ["throughput"]


def test_four_at_a_time_leave_the_bytes_of_a_plain_dvc_repro(tmp_path: Path) -> None:
    """dvc.lock with its order, outputs, cache and run cache; and each finds nothing to do after the other."""
    plain, beside = repository(tmp_path / "plain", diamond()), repository(tmp_path / "beside", diamond())
    run(plain, "dvc", "repro")
    said = run(beside, *REPRO, "--jobs", "4")
    assert runs(plain) == runs(beside) and said.count("done after") == 6
    assert files(plain) == files(beside)
    assert "every stage is up to date" in run(plain, *REPRO)
    assert "up to date" in run(beside, "dvc", "repro")
    assert not runs(plain) and not runs(beside)

    (beside / "out" / "train-a").unlink()  # comes back from the run cache, as with `dvc repro`
    run(beside, *REPRO)
    assert runs(beside) == [] and files(plain) == files(beside)


def test_a_stage_is_judged_after_what_it_needs_has_run(tmp_path: Path) -> None:
    """A stage that ran again and gave the same output lets the rest be; another output makes the rest run."""
    folder = repository(tmp_path, stage("fetch", "cut -c 1 source > out/fetch") | stage("train", "true", "fetch"))
    for source, expected in (("1", ["fetch", "train"]), ("12", ["fetch"]), ("21", ["fetch", "train"]), ("21", [])):
        (folder / "source").write_text(source)
        run(folder, *REPRO)
        assert runs(folder) == expected


def test_a_stage_that_times_runs_alone_and_others_side_by_side(tmp_path: Path) -> None:
    """Two stages wait for each other, each on one thread; the third sees neither, and has the threads it was given."""
    meet = "touch here-{0}; until test -e here-{1}; do sleep 0.1; done; echo $OMP_NUM_THREADS > {0}"
    meet += "; sleep 0.5; rm here-{1}"
    stages = stage("time", "ls here-* || true; echo $OMP_NUM_THREADS > time", meta={"alone": True})
    folder = repository(tmp_path, stages | stage("a", meet.format("a", "b")) | stage("b", meet.format("b", "a")))
    said = run(folder, "env", "OMP_NUM_THREADS=3", *REPRO, "--jobs", "3")
    assert "cannot access 'here-*'" in said
    assert [(folder / name).read_text() for name in ("a", "b", "time")] == ["1\n", "1\n", "3\n"]


def test_each_run_has_a_gpu(tmp_path: Path) -> None:
    """Two GPUs, as nvidia-smi lists them, make two stages at a time; a stage alone is left with both."""
    meet = "touch {0}; until test -e {1}; do sleep 0.1; done; echo $CUDA_VISIBLE_DEVICES > gpu-{0}"
    stages = stage("time", "echo all $CUDA_VISIBLE_DEVICES > gpu-time", meta={"alone": True})
    folder = repository(tmp_path, stages | stage("a", meet.format("a", "b")) | stage("b", meet.format("b", "a")))
    (folder / "nvidia-smi").write_text("#!/bin/sh\necho NVIDIA H100\necho NVIDIA H100\n")
    (folder / "nvidia-smi").chmod(0o755)
    run(folder, "env", f"PATH={folder}{os.pathsep}{ENVIRONMENT['PATH']}", *REPRO)
    assert {(folder / f"gpu-{name}").read_text() for name in "ab"} == {"0\n", "1\n"}
    assert (folder / "gpu-time").read_text() == "all\n"


def test_failures_let_the_others_end_and_are_all_named(tmp_path: Path) -> None:
    no_output = {"no_output": {"cmd": "echo wrote it elsewhere", "deps": ["source"], "outs": ["out/no_output"]}}
    stages = stage("bad", "echo working; echo 'error: source: is 1; make it 2' >&2; grep -q 2 source || exit 3")
    stages |= stage("next", "true", "bad") | stage("last", "true", "next") | no_output
    folder = repository(tmp_path, stages | stage("good", "sleep 1") | stage("better", "true", "good"))
    said = run(folder, *REPRO, "--jobs", "3", status=1).splitlines()
    assert (
        "failed: bad: error: source: is 1; make it 2 (exit status 3); all that it printed: .cache/repro/bad.log" in said
    )
    assert any(line.startswith("failed: no_output: output 'out/no_output' does not exist; ") for line in said)
    assert "not run, as what they need failed: next, last" in said
    assert runs(folder) == ["bad", "better", "good"]
    (folder / "source").write_text("2")
    run(folder, *REPRO, status=1)
    assert runs(folder) == ["bad", "good", "last", "next"]


@pytest.mark.parametrize("signals", [(signal.SIGINT,), (signal.SIGINT,) * 5, (signal.SIGTERM,)], ids=str)
def test_a_signal_stops_all_stages_and_loses_nothing(tmp_path: Path, signals: tuple[signal.Signals, ...]) -> None:
    """Ctrl-C, once or repeated, reaches our process group, as from a terminal; the next call goes on."""
    stages = {}
    for name in ("a", "b"):
        stages |= stage(name, f"python stoppable.py {name}")
    folder = repository(tmp_path, stages | stage("c", "true", "a", "b"))
    (folder / "stoppable.py").write_text(STOPPABLE)
    process = start(folder)
    wait_for(lambda: all(said(folder, name, "going on after epoch 0") for name in "ab"))
    for number in signals:
        os.killpg(process.pid, number)
        time.sleep(0.2)
    _, errors = process.communicate()
    assert process.returncode == 128 + signals[0], errors
    assert errors == "stopped a, b; run it again to go on\n"
    assert not processes_in(folder) and not (folder / "dvc.lock").exists()
    reached = {name: int((folder / f"{name}.state").read_text()) for name in "ab"}
    run(folder, *REPRO, "--jobs", "2")
    assert all(said(folder, name, f"going on after epoch {epoch}") for name, epoch in reached.items())
    assert runs(folder) == ["a", "a", "b", "b", "c"]


def test_a_second_call_does_not_meddle_and_a_killed_one_leaves_its_stages_to_end(tmp_path: Path) -> None:
    folder = repository(tmp_path, stage("slow", "until test -e go-on; do sleep 0.1; done"))
    process = start(folder)
    wait_for(lambda: runs(folder) == ["slow"])
    error = run(folder, *REPRO, status=2)
    assert error.startswith("error: ") and f"make repro runs already, as process {process.pid}" in error
    process.kill()
    process.communicate()
    error = run(folder, *REPRO, status=2)
    (child,) = (each.pid for each in processes_in(folder) if "dvc" in each.cmdline())
    assert error == f"error: dvc: DVC works here as process {child}; wait for it or stop it, then run it again\n"
    (folder / "go-on").touch()
    wait_for(lambda: not processes_in(folder))
    assert "every stage is up to date" in run(folder, *REPRO) and not runs(folder)


def test_bad_input_stops_with_one_line(tmp_path: Path) -> None:
    assert run(tmp_path, *REPRO, "--jobs", "0", status=2).startswith("error: --jobs: 0 ")
    outside = run(tmp_path, *REPRO, status=2)
    assert outside.startswith("error: dvc: ") and outside.count("\n") == 1
    folder = repository(tmp_path / "broken", stage("a", "true"))
    (folder / "dvc.yaml").write_text("stages: {a: {cmd: true")
    broken = run(folder, *REPRO, status=2)
    assert broken.startswith("error: dvc: ") and "dvc.yaml" in broken and broken.count("\n") == 1


def test_on_a_terminal_there_is_a_line_a_stage_with_rate_and_time_left(tmp_path: Path) -> None:
    folder = repository(tmp_path, stage("train", "for i in 1 2 3 4; do echo epoch $i/4; sleep 0.8; done"))
    shown = run(folder, "script", "--quiet", "--command", shlex.join(REPRO), os.devnull)
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown)
    assert re.search(r"train +\S+ [34]/4 \d\.\d s each, 00:0\d left", plain), plain
    assert re.search(r"all stages +\S+ 0/1 +\d\d:\d\d left", plain), plain
    assert "train: done after" in plain


def pipeline() -> tuple[dict[str, set[str]], dict[str, float]]:
    """The dependencies and, in round numbers, the seconds of a whole run of the default preset."""
    runs = [f"{model}-{seed}" for model in range(6) for seed in range(3)]
    needs: dict[str, set[str]] = {"featurize": set(), "throughput": set()}
    needs |= {f"train@{run}": {"featurize"} for run in runs}
    needs |= {f"evaluate@{run}": {f"train@{run}"} for run in runs}
    needs |= {f"linear_baseline@{seed}": {"featurize"} for seed in range(3)}
    needs["report"] = set(needs)
    kinds = {"featurize": 20, "throughput": 135, "train": 75, "evaluate": 6, "linear_baseline": 7, "report": 30}
    return needs, {name: float(kinds[name.partition("@")[0]]) for name in needs}


def test_more_jobs_than_cores_lose_nothing_and_more_cores_gain_what_they_can() -> None:
    """Of 1,664 s, 185 are of stages that have nothing beside them; of the other 1,479, eight cores idle for a fifth."""
    needs, seconds = pipeline()
    took = {jobs: makespan(needs, seconds, {"throughput"}, jobs) for jobs in (1, 2, 4, 8)}
    assert took == {1: 1664, 2: 927, 4: 566, 8: 416}
    assert [round((took[1] - 185) / (took[jobs] - 185) / jobs, 2) for jobs in took] == [1.0, 1.0, 0.97, 0.8]
    assert makespan(needs, seconds, {"throughput"}, 4, cores=2) == 924.5  # of 927 with two jobs
    assert seconds_to_end(needs, seconds)["train@0-0"] == 75 + 6 + 30


def start(folder: Path) -> subprocess.Popen[str]:
    """`repro`, two at a time, in a process group of its own, as a shell starts it."""
    return subprocess.Popen(
        [*REPRO, "--jobs", "2"],
        cwd=folder,
        env=ENVIRONMENT,
        text=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def said(folder: Path, name: str, text: str) -> bool:
    log = folder / ".cache" / "repro" / f"{name}.log"
    return log.exists() and text + "\n" in log.read_text()


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 240
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def processes_in(folder: Path) -> list[psutil.Process]:
    """Those whose working folder is this one."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            found += [process] if process.cwd() == str(folder) else []
    return found


@pytest.mark.parametrize("trouble", ["no Git", "linked data"])
def test_without_git_it_works_and_says_so_once(tmp_path: Path, trouble: str) -> None:
    """An unpacked ZIP has no .git, and of what lies behind a link DVC says "outside of git repository"."""
    command = "mkdir -p data/x && echo 1 > data/x/made"
    folder = repository(tmp_path / "here", {"a": {"cmd": command, "deps": ["source"], "outs": ["data/x"]}})
    if trouble == "no Git":
        shutil.rmtree(folder / ".git")
    else:
        (tmp_path / "disk").mkdir()
        (folder / "data").symlink_to(tmp_path / "disk")
    said = run(folder, *REPRO)
    assert said.count(".dvc/config.local: DVC now works without Git, as") == 1 and "delete the file to undo" in said
    assert (folder / "data/x/made").read_text() == "1\n"
    assert run(folder, *REPRO) == "every stage is up to date\n"
    assert "up to date" in run(folder, "dvc", "status")
