"""The stage: what it writes, replaces, keeps and leaves out; memory that really ends; the quick table."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.base import paths
from harness.config.params import Params
from harness.config.systems import Model
from harness.report.reading import WORKING_TREE
from harness.report.timing_frames import all_timings, shown
from harness.throughput import breakdown, quick, rows, sweep
from harness.throughput.condition import QUICK
from harness.throughput.device import breakdown_file, choices_file, timings_file
from harness.throughput.machine import Machine
from harness.throughput.pairs import pairs
from tests.conftest import ROOT
from tests.made_up_timings import write_timings
from tests.throughput.conftest import DCLS


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("harness.records.git_history.code_revision", lambda: {"revision": "a" * 40, "dirty": False})
    return tmp_path


def test_the_stage_writes_all_its_files(
    here: Path,
    tiny: None,
    quick_params: Params,
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    five_seconds_a_pair = SimpleNamespace(monotonic=itertools.count(0, 5).__next__)
    monkeypatch.setattr(sweep, "time", five_seconds_a_pair)
    sweep.throughput(quick_params, every=False)
    found = rows.read(timings_file(machine.label))
    assert len(found) == 2 * 3 * 4 and {row["status"] for row in found} == {"ok"}
    assert {row["revision"] for row in found} == {"a" * 40} and {row["device"] for row in found} == {machine.label}
    parts = rows.read(breakdown_file(machine.label), rows.BREAKDOWN)
    assert len(parts) == 6 * 2 * len(breakdown.PARTS)
    for start in range(0, len(parts), 5):
        assert sum(float(part["share"]) for part in parts[start : start + 5]) == pytest.approx(1)
    quick = [row for row in found if row["baseline_depthwise"] == QUICK]
    assert [(row["convolution"] != "7x7", row["mode"]) for row in quick] == 3 * [
        (False, "training"),
        (True, "training"),
    ]
    assert all("kernel_gradient: " in row["convolutions"] for row in quick)
    choices = rows.read_choices(choices_file(machine.label))
    assert len(choices) == 3 * (4 + 1) and all(one["choices"][0]["milliseconds"] for one in choices)
    written = json.loads(choices_file(machine.label).read_text())[0]["choices"][0]
    assert {"operation", "input", "kernel", "backend", "failed"} < set(written)
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("[1/12, 00:55 left] ")
    assert out[-1] == f"{timings_file(machine.label)}: 12 pairs and conditions"


def test_again_and_all(
    here: Path, quick_params: Params, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_timings(quick_params, monkeypatch)
    path = next(path for path in paths.THROUGHPUT.glob("*.csv") if "breakdown" not in path.name)
    other = paths.THROUGHPUT / "abacus.csv"
    other.write_text(",".join(rows.COLUMNS) + "\n")
    first = rows.read(path)
    monkeypatch.setattr(sweep, "precisions_of", lambda _: ("float32",))
    capsys.readouterr()
    sweep.throughput(quick_params, every=True)
    every = rows.read(path)
    assert "12 of 72 pairs and conditions: measured by this commit already, left out" in capsys.readouterr().out
    assert every[: len(first)] == first and len(every) == 2 * 72
    assert {(one["fused"], one["compiled"], one["channels_last"]) for one in every if one["mode"] == "training"} == {
        ("no", compiled, last) for compiled in ("no", "yes") for last in ("no", "yes")
    }
    sweep.throughput(quick_params, every=True)
    assert "72 of 72" in capsys.readouterr().out and rows.read(path) == every
    sweep.throughput(quick_params, every=False)  # measures anew what it is asked for
    again = rows.read(path)
    assert again[len(first) :] == every[len(first) :] and again[0]["throughput"] != ""
    assert again[: len(first)] != first and other.read_text().startswith("backbone,")
    monkeypatch.setattr("harness.records.git_history.code_revision", lambda: {"revision": "a" * 40, "dirty": True})
    sweep.throughput(quick_params, every=True)
    assert "left out" not in capsys.readouterr().out  # of changed files nobody knows what was measured


def test_an_interrupted_sweep_keeps_what_it_has(
    here: Path, quick_params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[Model] = []
    measure = sweep.measure

    def interrupted(model: Model, *more: Any) -> Any:
        measured.append(model)
        if len(measured) == 3:
            raise KeyboardInterrupt
        return measure(model, *more)

    monkeypatch.setattr(sweep, "measure", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_timings(quick_params, monkeypatch)
    path = next(paths.THROUGHPUT.glob("*.csv"))
    assert [(row["backbone"], row["convolution"]) for row in rows.read(path)] == [
        (model.backbone, convolution) for model in measured[:2] for convolution in ("7x7", model.convolution)
    ]


LIMITED = """
import resource, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
import dcls
from harness.models import build as models
from harness.config.params import load
from harness.throughput import sweep
from harness.throughput.machine import this_machine
from tests.throughput.conftest import condition, pair_of, tiny_size

dcls.use_convolution("measured")
models.full_size = tiny_size
params = load(Path(sys.argv[1]))
params = params.model_copy(update={"throughput": params.throughput.model_copy(update={"seconds": 0.0})})
list(sweep.run([(pair_of(params), condition())], params, this_machine()))  # what is loaded once
pages = int(Path("/proc/self/statm").read_text().split()[0])
resource.setrlimit(resource.RLIMIT_AS, 2 * (pages * resource.getpagesize() + 200 * 2**20,))
jobs = [(pair_of(params), condition(batch=128)), (pair_of(params), condition(batch=1))]
for (pair, one), found in sweep.run(jobs, params, this_machine()):
    print("result", one.batch, *(row["status"] for row in found.rows), sep="|")
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's limit of the address space")
def test_half_the_batch_where_memory_really_ends() -> None:
    command = [sys.executable, "-c", LIMITED, str(ROOT / "presets" / "instruments.yaml")]
    freed = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}  # what is freed leaves the address space at once
    done = subprocess.run(command, cwd=ROOT, env=freed, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = [line.split("|")[1:] for line in done.stdout.splitlines() if line.startswith("result")]
    assert found[0] == ["128", "out of memory", "out of memory"]
    batches = [int(batch) for batch, *_ in found]
    assert batches[:-1] == [128 >> n for n in range(len(found) - 1)] and batches[-1] == 1
    assert batches[-2] > 1 and found[-2][1:] == found[-1][1:] == ["ok", "ok"]
    assert all("out of memory" in statuses for _, *statuses in found[:-2])


def test_quick_prints_the_ratios_and_writes_nothing(
    here: Path,
    tiny: None,
    params: Params,
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(quick, "SECONDS", 0.0)
    paths.PUBLISHED.parent.mkdir()
    paths.PUBLISHED.write_bytes((ROOT / paths.PUBLISHED).read_bytes())
    quick.quick(params)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(
        f"DCLS / baseline, inference, float32, eager, channels_last, batch 1, on {machine.label}"
    )
    assert [line.split()[0] for line in lines[2:]] == [one.name for one in pairs(params)]
    assert [line.split()[2] for line in lines[2:]] == ["0.77", "0.87", "0.86"]
    assert all(any(word in line for word in ("slower by", "faster by", "no difference")) for line in lines[2:])
    assert [path.name for path in here.iterdir()] == ["paper_tables"]


def test_the_tables_show_what_was_timed(
    here: Path, machine: Machine, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of(params: Params) -> dict[str, float]:
        found = shown(all_timings(WORKING_TREE), machine.label, params.systems)
        return found.set_index("model").ratio_to_baseline.to_dict()

    write_timings(params, monkeypatch)
    assert of(params)[DCLS] == pytest.approx(1 / 1.4, rel=0.1)
    timings_file(machine.label).unlink()
    assert of(params) == {}
