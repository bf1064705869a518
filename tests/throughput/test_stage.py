"""The stage of the real dvc.yaml in a DVC repository of its own, with reduced models: what reruns, and what stays."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from harness.throughput import rows
from tests.conftest import ROOT
from tests.test_pipeline import commit, run, stages_due, stages_run

TINY = """
from pathlib import Path
from harness.models import build as models
from harness.config.params import load
from harness.throughput.sweep import throughput

tiny = {"scale": "reduced", "depths": (1, 1, 1, 1), "widths": (8, 16, 32, 64)}
whole = models.full_size
models.full_size = lambda model: whole(model).model_copy(update=tiny)
throughput(load(Path("params.yaml")), every=False)
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Parameters, code and the stage, whose command times reduced models instead."""
    folder = tmp_path / "repository"
    for name in ("dcls", "harness"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / ".dvcignore", folder)
    counted = Path("results/instruments/parameters.json")
    (folder / counted).parent.mkdir(parents=True)
    shutil.copy(ROOT / counted, folder / counted)
    params = yaml.safe_load((ROOT / "presets" / "instruments.yaml").read_text())
    params["models"] = ["convnext_audio_tiny", "convnext_dcls_audio_tiny"]
    params["throughput"] = {"inference_batches": [1], "training_batches": [1], "seconds": 0.0}
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    stage = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["throughput"]
    assert stage["cmd"] == "python -m harness throughput"
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"throughput": stage | {"cmd": "python tiny.py"}}}))
    (folder / "tiny.py").write_text(TINY)
    run(folder, "git", "init", "--quiet")
    run(folder, "dvc", "init", "--quiet")
    run(folder, "python", "-m", "harness", "hardware")
    commit(folder, "before")
    return folder


def test_rows_of_other_devices_survive_and_nothing_runs_twice(repository: Path) -> None:
    timings = repository / "results" / "throughput"
    assert stages_run(run(repository, "dvc", "repro")) == {"throughput"}
    commit(repository, "timed here")
    assert stages_run(run(repository, "dvc", "repro")) == set() == stages_due(repository)
    clone = repository.parent / "clone"
    run(repository.parent, "git", "clone", "--quiet", str(repository), str(clone))
    assert stages_due(clone) == set()  # with no cache

    (path,) = [path for path in timings.glob("*.csv") if "breakdown" not in path.name]
    first = rows.read(path)
    other = timings / "abacus.csv"  # as a pull request brings it
    other.write_text(",".join(rows.COLUMNS) + "\n")
    commit(repository, "another device")
    assert stages_due(repository) == {"throughput"}
    hardware = repository / "runs" / "hardware.json"
    hardware.write_text(json.dumps(json.loads(hardware.read_text()) | {"system": "another"}))
    assert stages_run(run(repository, "dvc", "repro")) == {"throughput"}
    again = rows.read(path)
    assert other.read_text().startswith("backbone,") and stages_due(repository) == set()
    assert len(again) == len(first) == 6 and {row["date"] for row in again} != {row["date"] for row in first}
