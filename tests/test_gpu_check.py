"""The script for the first minutes on a GPU: the same code on a CPU, small, and parts that go wrong."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.gpu_check import goals, limited, plan
from harness.throughput import rows
from tests.conftest import ROOT

NOT_COMPILED = ",".join(part.name for part in plan.PARTS if not part.name.startswith("compiled"))
LACKING = """
from functools import partial
from importlib.machinery import PathFinder
find = PathFinder.find_spec
def find_spec(name, path=None, target=None):
    return None if name.partition(".")[0] in {missing} else find(name, path, target)
PathFinder.find_spec = partial(find_spec)  # which no class takes for a method of its own
"""


def check(out: Path, *options: str, status: int = 0, missing: tuple[str, ...] = (), device: str = "cpu") -> str:
    """What the script prints; `missing` packages cannot be imported in it."""
    environment = {**os.environ, "PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
    if missing:
        out.with_name("lacking").mkdir()
        (out.with_name("lacking") / "sitecustomize.py").write_text(LACKING.format(missing=set(missing)))
        environment["PYTHONPATH"] = str(out.with_name("lacking"))
    command = ["bash", str(ROOT / "benchmarks" / "gpu_check.sh"), "--device", device, "--tiny", "--out", str(out)]
    done = subprocess.run([*command, *options], env=environment, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    log = out / "log.txt"
    assert done.returncode == status, said + (log.read_text()[-3000:] if log.is_file() else "")
    return said


def test_every_part_runs_on_a_cpu(tmp_path: Path) -> None:
    out = tmp_path / "found"
    said = check(out, "--parts", NOT_COMPILED, "--revision", "abc")
    assert {path.name for path in out.iterdir()} == set(plan.FILES) and len(plan.FILES) <= 8
    for name in NOT_COMPILED.split(","):
        assert f"\n| {name} | ok |" in said
    assert (out / "summary.md").read_text().strip() in said
    found = json.loads((out / "found.json").read_text())
    assert found["device"]["bytes_per_s"] > 0 and set(found["device"]["operations_per_s"]) >= {"float32"}
    assert found["tests"]["counts"]["PASSED"] > 0 == found["tests"]["counts"]["FAILED"]
    assert found["processes"]["losses"] == pytest.approx(found["processes"]["alone"], rel=1e-4)
    assert found["loading"]["workers_1"]["clips_per_s"] > 0 and found["loading"]["milliseconds"]["copying"] >= 0
    for name in ("timings.csv", "timings-rule.csv"):
        timed = rows.read(out / name)
        assert {row["status"] for row in timed} == {"ok"}
        kinds = {(row["mode"], row["precision"], row["batch"]) for row in timed}
        assert kinds == {
            *(("inference", way, "2") for way in ("float32", "bf16", "tf32")),
            *(("training", way, "2") for way in ("float32", "tf32")),
            ("inference", "float32", "1"),
        }
    with open(out / "compared.csv", newline="") as file:
        compared = list(csv.DictReader(file))
    assert {row["layers"] for row in compared} == {"dcls", "published", "torch 23x23"}
    assert {row["status"] for row in compared} == {"ok"}
    judged = {(one.goal, one.model): one.met for one in goals.verdicts(out)}
    measured = {goal for (goal, _), met in judged.items() if met != goals.NOT_MEASURED}
    assert len(judged) == 12 and len(measured) == 3  # all but the compiled one
    assert "bound" in (out / "profile.txt").read_text()


def test_it_goes_on_without_what_is_missing(tmp_path: Path) -> None:
    missing = ("DCLS", "soundfile", "soxr", "pytest", "xdist", "dvc", "submitit")
    said = check(tmp_path / "found", "--parts", "tests,published,training", missing=missing)
    assert "| tests | left out | " in said and "package pytest is missing" in said
    assert "| published | left out | " in said and "give the folder of its wheel by --wheels" in said
    assert "over torch 23x23" in said and "| training | ok |" in said


def test_a_part_that_fails_is_named_and_the_next_one_runs(tmp_path: Path) -> None:
    said = check(tmp_path / "found", "--parts", "ratios,device", status=1, missing=("timm",))
    assert "| device | failed |" in said and "| ratios | failed |" in said and "No module named 'timm'" in said
    assert said.count("| not measured |") == 12


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--parts", "device,all"), "error: --parts: no part 'all'; the parts are device, tests, "),
        (("--wheels", "/dev/null"), "error: --wheels: /dev/null holds no wheel; "),
    ],
)
def test_a_wrong_option_is_a_line(tmp_path: Path, options: tuple[str, str], reason: str) -> None:
    assert check(tmp_path / "found", *options, status=2).startswith(reason)


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    assert "thesis.tex, which no check wrote" in check(tmp_path, "--parts", "device", status=2)
    assert (tmp_path / "thesis.tex").read_text() == "mine"


def test_at_its_limit_a_part_is_stopped_with_all_that_it_started(tmp_path: Path) -> None:
    """Also what has a session of its own and does not listen to SIGTERM."""
    child = "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); time.sleep(600)"
    start = (
        "import subprocess, sys, time, pathlib\n"
        f"child = subprocess.Popen([sys.executable, '-c', {child!r}], start_new_session=True, stdout=subprocess.PIPE)\n"
        "child.stdout.readline()\n"
        f"pathlib.Path({str(tmp_path / 'child')!r}).write_text(str(child.pid))\n"
        "time.sleep(600)\n"
    )
    with open(tmp_path / "log", "wb") as log:
        assert limited.run_limited([sys.executable, "-c", start], 15.0, log, os.environ) is None
    child_stat = Path(f"/proc/{(tmp_path / 'child').read_text()}/stat")
    for _ in range(100):
        if not child_stat.exists() or child_stat.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.1)
    raise AssertionError("the child lives on")


def test_the_limits_leave_time_for_all_that_has_a_goal() -> None:
    assert plan.TOTAL <= 480 and all(part.seconds < plan.TOTAL for part in plan.PARTS)
    until_goals = [part for part in plan.PARTS if part.name in ("device", "tests", "ratios", "compiled", "published")]
    assert sum(part.seconds for part in until_goals) + 60 < plan.TOTAL


@pytest.mark.slow  # a C++ compiler at work
def test_the_compiled_parts_run_on_a_cpu(tmp_path: Path) -> None:
    said = check(tmp_path / "found", "--parts", "compiled,compiled-training")
    assert "| compiled | ok |" in said and "| compiled-training | ok |" in said


@pytest.mark.gpu
def test_on_a_gpu(tmp_path: Path) -> None:
    """The same bits twice, float32 near the CPU, 16 bits finite, two processes on one GPU, pinned clips."""
    check(tmp_path / "found", "--parts", "device,training,processes,loading", device="cuda")
    found = json.loads((tmp_path / "found" / "found.json").read_text())
    assert found["loading"]["pinned"] and found["processes"]["backend"] in ("nccl", "gloo")
