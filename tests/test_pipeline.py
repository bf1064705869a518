"""The real pipeline in a temporary clone: `dvc repro`, all six models, real recordings, the real params.yaml shrunk."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from harness.config.params import load
from harness.records.git_history import revision_with
from harness.throughput.rows import read as read_rows
from tests.conftest import MODELS, ROOT, unshared

EPOCHS = 1
RUN = (*MODELS, "dense", "fixed")  # see add_systems
TINY = {"depths": [1, 1, 1, 1], "widths": [16, 16, 32, 32]}
ENVIRONMENT = os.environ | {
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "DVC_NO_ANALYTICS": "true",
    "GIT_AUTHOR_NAME": "test",
    "GIT_AUTHOR_EMAIL": "test@example.org",
    "GIT_COMMITTER_NAME": "test",
    "GIT_COMMITTER_EMAIL": "test@example.org",
}
Edit = Callable[[dict[str, Any]], object]


def run(clone: Path, *command: str, status: int = 0) -> str:
    """stdout and stderr of a command in the clone, which must end with this exit status."""
    done = subprocess.run(command, cwd=clone, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout + done.stderr


def edit(clone: Path, change: Edit) -> None:
    params = unshared(yaml.safe_load((clone / "params.yaml").read_text()))
    change(params)
    (clone / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))


def shrink(params: dict[str, Any]) -> None:
    params["seeds"] = params["linear_baseline_seeds"] = [0]
    params["data"] |= {"train_mixtures": 32, "val_mixtures": 40, "test_mixtures": 60}
    params["evaluate"]["bootstrap"] = 50
    params["throughput"] = {"inference_batches": [1], "training_batches": [1], "seconds": 0.0}
    for system in params["systems"].values():
        system["model"] = system["model"] | TINY
        system["schedule"] = system["schedule"] | {"epochs": EPOCHS}
    add_systems(params)


def add_systems(params: dict[str, Any]) -> None:
    """Two more by entries alone: fixed spacings, and a dense kernel."""
    base, dcls = (params["systems"][name] for name in ("convnext_audio_tiny", "convnext_dcls_audio_tiny"))
    fixed = dcls["model"] | {"dcls": dcls["model"]["dcls"] | {"position_rate": 0.0}}
    for name, label, model in (
        ("dense", "dense 23x23", base["model"] | {"kernel_size": 23}),
        ("fixed", "DCLS, fixed spacings", fixed),
    ):
        more = {"label": label, "model": model, "schedule": base["schedule"], "compared_with": ["convnext_audio_tiny"]}
        params["systems"][name] = more
        params["models"].append(name)


def shorten(clone: Path) -> None:
    """Fewer rounds and profiled steps of the full-size models, of which a busy machine would take 15; clips of 2 s."""
    for name, long, short in (
        ("throughput/rounds.py", "LEAST, MOST = 5, 100", "LEAST, MOST = 2, 2"),
        ("throughput/breakdown.py", "STEPS = 3", "STEPS = 1"),
        ("counting/operations.py", "INPUT = (1, 128, 1001)", "INPUT = (1, 128, 201)"),
    ):
        path = clone / "harness" / name
        text = path.read_text()
        assert text.count(long) == 1
        path.write_text(text.replace(long, short))


def stages_run(output: str) -> set[str]:
    return {line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage '")}


def stages_due(clone: Path) -> set[str]:
    """The stages that differ from what they last ran with; what follows from them is not among them yet."""
    return set(json.loads(run(clone, "dvc", "status", "--json")))


def commit(clone: Path, message: str) -> None:
    run(clone, "git", "add", "--all")
    run(clone, "git", "commit", "--quiet", "--message", message)


def new_clone(clone: Path) -> Path:
    """A clone of this checkout, with what is not committed yet; of an unpacked archive, a copy in a new repository."""
    if not (ROOT / ".git").exists():
        made = shutil.ignore_patterns(".venv", ".cache", "data", "runs", "predictions", ".*_cache")
        below = shutil.ignore_patterns("__pycache__")
        shutil.copytree(
            ROOT, clone, ignore=lambda folder, names: (made if Path(folder) == ROOT else below)(folder, names)
        )
        run(clone, "git", "init", "--quiet")
        commit(clone, "the archive")
        return clone
    run(ROOT, "git", "clone", "--quiet", f"file://{ROOT}", str(clone))  # of a path, a shallow one would not do
    names = run(ROOT, "git", "ls-files", "-z", "--modified", "--others", "--exclude-standard").split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, clone / name)
    return clone


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory, tarballs: Path) -> Path:
    """A clone, shrunk, and run once."""
    clone = new_clone(tmp_path_factory.mktemp("pipeline") / "clone")
    (clone / ".cache").mkdir()
    shutil.copytree(tarballs, clone / ".cache" / "downloads")
    run(clone, sys.executable, "-m", "harness", "preset", "instruments")
    edit(clone, shrink)
    shorten(clone)
    run(clone, sys.executable, "-m", "harness", "hardware")
    commit(clone, "shrunk")
    run(clone, "dvc", "repro")
    commit(clone, "results of the shrunk parameters")
    return clone


def test_every_model_is_trained_scored_timed_and_tabulated(clone: Path) -> None:
    results = clone / "results" / "instruments"
    files = [path for path in (clone / "results" / "throughput").glob("*.csv") if "breakdown" not in path.name]
    timings = [row for path in files for row in read_rows(path)]  # with those committed, of this device or another
    systems = load(clone / "params.yaml").systems
    for model in RUN:
        metrics = json.loads((results / "runs" / f"{model}-0" / "evaluation" / "metrics.json").read_text())
        assert 0 < metrics["mAP_low"] <= metrics["mAP"] <= metrics["mAP_high"] <= 1 and metrics["clips"] == 60
        record = json.loads((results / "runs" / f"{model}-0" / "training" / "run.json").read_text())
        log = json.loads((clone / "runs" / "instruments" / f"{model}-0.log.json").read_text())
        assert log["dirty"] is False and log["seconds"] > 0 and log["host"]["cores"] and record["device"]
        assert revision_with("train", record["code_fingerprint"], clone) == log["revision"]
        built = (systems[model].model.backbone, systems[model].model.convolution, log["revision"])
        timed = [row for row in timings if (row["backbone"], row["convolution"], row["revision"]) == built]
        ways = [(row["mode"], row["baseline_depthwise"]) for row in timed]
        assert ways == [("inference", "torch"), ("training", "torch"), ("training", "dcls")]
        assert all(row["status"] == "ok" and float(row["throughput"]) > 0 for row in timed)
        assert int(timed[0]["parameters_1000"]) > 20e6 and timed[0]["dirty"] == "no" and timed[0]["revision"]
        with np.load(clone / "predictions" / "instruments" / f"{model}-0.npz") as predictions:
            assert predictions["scores"].shape == predictions["targets"].shape == (60, 20)
        assert model in (clone / "paper_tables" / "instruments" / "table1.csv").read_text()
        if systems[model].is_dcls:
            epochs = {
                line.split(",")[0] for line in (results / "runs" / f"{model}-0" / "training" / "positions.csv").open()
            }
            assert epochs == {"epoch", "0", "1"}
    clips = json.loads((results / "examples" / "examples.json").read_text())["clips"]
    assert len(clips) == 4 and all(set(clip["predictions"]) == set(RUN) for clip in clips)
    for clip in clips:  # of the recordings all are free
        assert 0 < (results / "examples" / clip["audio"]).stat().st_size < 60_000 and clip["licence"]
    compared = (clone / "paper_tables" / "instruments" / "comparisons.md").read_text()
    assert "dense 23x23 - baseline" in compared and "DCLS, fixed spacings - baseline" in compared
    counted = json.loads((results / "parameters.json").read_text())["models"]
    assert counted["dense"]["convolution"] == "23x23" and counted["dense"]["kernels"] > 10 * counted["fixed"]["kernels"]
    folder = results / "runs" / "fixed-0" / "training"
    moved = [float(row.split(",")[4]) for row in (folder / "positions.csv").read_text().splitlines()[1:]]
    assert max(moved) < 0.1  # what begins outside of the kernel is brought back at the first step, and no more
    shown = run(clone, sys.executable, "-m", "harness", "show")
    assert all(model in shown for model in RUN) and "linear" in shown and "report.md" in shown


def test_nothing_to_do_takes_seconds(clone: Path) -> None:
    started = time.monotonic()
    assert stages_run(run(clone, "dvc", "repro")) == set()
    assert time.monotonic() - started < 15


def test_a_rerun_on_a_fresh_clone_leaves_the_tree_clean(clone: Path, tmp_path: Path, tarballs: Path) -> None:
    """All is trained and scored again, to the same bytes, weights too: dvc.lock has their hashes. Timings stay."""
    fresh = tmp_path / "a clone with späces"
    run(clone, "git", "clone", "--quiet", f"file://{clone}", str(fresh))
    (fresh / ".cache").mkdir()
    shutil.copytree(tarballs, fresh / ".cache" / "downloads")
    run(fresh, sys.executable, "-m", "harness", "hardware")
    done = stages_run(run(fresh, "dvc", "repro"))
    assert {f"{stage}@{model}-0" for stage in ("train", "evaluate") for model in RUN} <= done
    assert "throughput" not in done
    assert run(fresh, "git", "status", "--porcelain") == ""
    count = len(RUN) + 1
    verified = run(fresh, sys.executable, "-m", "harness", "verify")
    assert verified.splitlines()[-1] == f"reproduced: {count} of {count} runs to the bit"
    history = fresh / "results" / "instruments" / "runs" / f"{MODELS[0]}-0" / "training" / "history.csv"
    for digit, status, said in ((5e-6, 0, "within 0.0005"), (0.5, 1, "differs")):
        header, row = (history.read_text() if digit < 0.1 else git_text(fresh, history)).splitlines()
        cells = row.split(",")
        history.write_text(f"{header}\n{','.join([*cells[:3], str(float(cells[3]) + digit)])}\n")
        verified = run(fresh, sys.executable, "-m", "harness", "verify", status=status)
        assert f"{MODELS[0]}-0: {said} (history.csv, row 1, val_mAP" in verified


def git_text(clone: Path, path: Path) -> str:
    return run(clone, "git", "show", f"HEAD:{path.relative_to(clone).as_posix()}")


def test_one_models_parameter_reruns_its_stages_and_what_reads_them(clone: Path) -> None:
    model = "convnext_dcls_audio_tiny"
    edit(clone, lambda params: params["systems"][model]["schedule"].update(learning_rate=1.25e-3))
    try:
        assert stages_run(run(clone, "dvc", "repro")) == {
            "link",  # to the same links
            f"train@{model}-0",
            f"evaluate@{model}-0",
            "compare_models",
            "count_parameters",  # to the same counts, so that nothing is timed again
            "examples",
            "tables",
            "figures",
            "page",
        }
    finally:
        run(clone, "git", "checkout", "--quiet", ".")
        run(clone, "dvc", "checkout")
    assert not stages_due(clone)


def test_a_changed_plot_reruns_no_training(clone: Path) -> None:
    with (clone / "harness" / "report" / "reading.py").open("a") as file:
        file.write("\n# changed\n")
    try:
        assert stages_due(clone) == {"tables", "figures", "page"}
    finally:
        run(clone, "git", "checkout", "--quiet", "harness")


def test_a_new_seed_trains_that_seed_alone(clone: Path) -> None:
    edit(clone, lambda params: params.update(seeds=[0, 7]))
    try:
        new = {f"{stage}@{model}-7" for stage in ("train", "evaluate") for model in RUN}
        assert stages_due(clone) == new | {"compare_models", "examples", "tables", "figures", "page"}
    finally:
        run(clone, "git", "checkout", "--quiet", "params.yaml")


def test_a_fresh_clone_without_cache_shows_and_compares_metrics(clone: Path, tmp_path: Path) -> None:
    fresh = tmp_path / "fresh"
    run(clone, "git", "clone", "--quiet", str(clone), str(fresh))
    assert "mAP_percent.convnext_audio_tiny" in run(fresh, "dvc", "metrics", "show")
    path = fresh / "results" / "instruments" / "summary.json"
    headline = json.loads(path.read_text())
    headline["mAP_percent"]["convnext_audio_tiny"] = 0.125
    path.write_text(json.dumps(headline))
    edit(fresh, lambda params: params["train"].update(weight_decay=0.0625))
    commit(fresh, "another result")
    assert "0.125" in run(fresh, "dvc", "metrics", "diff", "HEAD~1")
    assert "0.0625" in run(fresh, "dvc", "params", "diff", "HEAD~1")
    assert "index.html" in run(fresh, "dvc", "plots", "diff", "HEAD~1")
    page = next(fresh.glob("dvc_plots/index.html")).read_text()
    assert "history.csv" in page


def interrupted(clone: Path, stage: str) -> str:
    """What `dvc repro` prints of a stage that Ctrl-C, as a terminal sends it, ends after the first checkpoint."""
    command = ["dvc", "repro", "--force", "--single-item", stage]
    process = subprocess.Popen(
        command, cwd=clone, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )
    while not list(clone.glob(".cache/resume/*/*/?????????.json")):
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    said = process.communicate()[0].decode()
    assert process.returncode != 0 and "Traceback" not in said, said
    return said


def test_an_interrupted_repro_goes_on_and_never_from_other_parameters(clone: Path) -> None:
    """Ctrl-C after the first epoch; going on gives the bytes of an undisturbed run; other parameters begin anew."""
    model = "convnext_audio_tiny"
    stage, weights = f"train@{model}-0", clone / "runs" / "instruments" / f"{model}-0" / "model.safetensors"
    edit(clone, lambda params: params["systems"][model]["schedule"].update(epochs=8))
    try:
        run(clone, "dvc", "repro", "--single-item", stage)
        undisturbed = weights.read_bytes()
        assert "its checkpoint is written, run it again to go on" in interrupted(clone, stage)
        assert not weights.exists()
        assert "going on after epoch" in run(clone, "dvc", "repro", "--force", "--single-item", stage)
        assert weights.read_bytes() == undisturbed

        interrupted(clone, stage)
        edit(clone, lambda params: params["train"].update(weight_decay=0.0))
        said = run(clone, "dvc", "repro", "--single-item", stage)
        assert "going on" not in said and "epoch 1/8" in said
    finally:
        run(clone, "git", "checkout", "--quiet", ".")
        run(clone, "git", "clean", "--quiet", "--force", "-d")


def test_results_of_presets_lie_side_by_side(clone: Path) -> None:
    """Preset `folder` as it is, on the example clips, beside `instruments`."""
    shutil.copy(clone / "presets" / "folder.yaml", clone / "params.yaml")
    edit(clone, shrink)
    edit(clone, lambda params: params.update(models=["fastvit_audio_sa24", "fastvit_dcls_audio_sa24"]))
    run(clone, "dvc", "repro")
    commit(clone, "another preset")
    committed = run(clone, "git", "ls-files", "results", "paper_tables").splitlines()
    for preset in ("instruments", "folder"):
        assert f"paper_tables/{preset}/table1.md" in committed and f"results/{preset}/report.md" in committed
        assert f"results/{preset}/runs/fastvit_dcls_audio_sa24-0/evaluation/metrics.json" in committed
    assert "results/instruments" not in run(clone, "git", "diff", "--stat", "HEAD~1")
