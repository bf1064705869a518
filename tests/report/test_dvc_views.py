"""DVC's own views, by the real `dvc` on the committed dvc.yaml: few metrics, and plots that show the result files."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.report import offline_plots
from harness.report.figures import theme
from tests.report.conftest import BASELINE, DCLS, RESULTS, ROOT, rows_of_table

PLOTS = {
    "validation_mAP": ("history", "epoch", "val_mAP_percent"),
    "training_loss": ("history", "epoch", "train_loss"),
    "kernel_positions": ("positions", "epoch", "mean_displacement_cells"),
    "class_differences": ("class_differences", "difference_points", "label"),
}


def _run(*command: str) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    given = os.environ | {"PATH": path, "DVC_NO_ANALYTICS": "true"}
    for who in ("AUTHOR", "COMMITTER"):
        given |= {f"GIT_{who}_NAME": "test", f"GIT_{who}_EMAIL": "test@example.org"}
    done = subprocess.run(command, env=given, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def repository(made: Path) -> Path:
    """The result files in a Git repository with the committed pipeline, templates and parameters, and no cache."""
    shutil.copytree(ROOT / ".dvc" / "plots", made / ".dvc" / "plots")
    shutil.copy(ROOT / ".dvc" / "config", made / ".dvc" / "config")
    shutil.copy(ROOT / "dvc.yaml", made)
    shutil.copy(ROOT / "presets" / "instruments.yaml", made / "params.yaml")
    _run("git", "init", "--quiet")
    _run("git", "add", "--all")
    _run("git", "commit", "--quiet", "--message", "results")
    return made


def _fields(spec: Any) -> set[str]:
    if isinstance(spec, dict):
        return {one for key, one in spec.items() if key == "field"} | _fields(
            [one for key, one in spec.items() if key != "values"]
        )
    return set().union(*map(_fields, spec)) if isinstance(spec, list) else set()


def test_plots_show_the_result_files(repository: Path) -> None:
    shown = json.loads(_run("dvc", "plots", "show", "--json"))
    assert not shown.get("errors") and set(shown["data"]) == set(PLOTS)
    for name, (table, x, y) in PLOTS.items():
        content = shown["data"][name][0]["content"]
        with open(RESULTS / "plots" / f"{table}.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        values = content["data"]["values"]
        assert [{key: one[key] for key in rows[0]} for one in values] == rows
        assert _fields(content) >= {"backbone", "rev", x, y}
        assert _fields(content) <= {*rows[0], "rev"}  # all that the template draws is in the data
        assert theme.DCLS in json.dumps(content) or name == "kernel_positions"
    history = RESULTS / "plots" / "history.csv"
    assert sum(1 for _ in history.open()) == 1 + 6 * 3 * 8  # models, seeds, epochs
    assert _run("dvc", "plots", "show").strip().endswith("dvc_plots/index.html")
    assert all(title in (repository / "dvc_plots" / "index.html").read_text() for title in ("Validation mAP", "AP by"))


def _encodings(spec: Any, channel: str) -> list[dict[str, Any]]:
    below = spec.values() if isinstance(spec, dict) else spec if isinstance(spec, list) else ()
    own = [spec[channel]] if isinstance(spec, dict) and channel in spec else []
    return own + [one for each in below for one in _encodings(each, channel)]


def test_plots_of_two_revisions_tell_them_apart(repository: Path) -> None:
    """By dashes, which the legend shows, or by where and in what shape a point stands."""
    for table in ("history", "positions", "class_differences"):
        path = RESULTS / "plots" / f"{table}.csv"
        path.write_text(path.read_text().rstrip("\n").rpartition("\n")[0] + "\n")
    shown = json.loads(_run("dvc", "plots", "diff", "--json", "HEAD"))
    for name in PLOTS:
        content = shown["data"][name][0]["content"]
        assert {one["rev"] for one in content["data"]["values"]} == {"HEAD", "workspace"}
        dashes, shapes = _encodings(content, "strokeDash"), _encodings(content, "shape")
        assert any(one.get("field") == "rev" for one in [*dashes, *shapes])
        assert all(one["legend"]["symbolType"] == "stroke" for one in dashes if one.get("field") == "rev")


def test_plots_without_a_network(repository: Path) -> None:
    offline_plots.main()
    _run("dvc", "plots", "show", "--html-template", str(offline_plots.PAGE))
    page = (repository / "dvc_plots" / "index.html").read_text()
    assert "<script src" not in page and page.count("vegaEmbed('#") == len(PLOTS)
    assert "window.vegaEmbed" in page.partition("vegaEmbed('#")[0]


def test_metrics_are_few_and_those_of_the_table(repository: Path) -> None:
    shown = json.loads(_run("dvc", "metrics", "show", "--json"))[""]["data"]
    assert list(shown) == [str(RESULTS / "summary.json")]
    headline = shown[str(RESULTS / "summary.json")]["data"]
    rows = rows_of_table()
    assert headline["mAP_percent"][BASELINE] == float(rows[BASELINE]["map_mean"])
    assert headline["mAP_points_minus_baseline"][DCLS] == float(rows[DCLS]["map_difference_mean"])
    assert headline["speed_over_baseline"][DCLS] == float(rows[DCLS]["speed_ratio_527"])
    assert headline["mAP_points_minus_baseline_low"][DCLS] == float(rows[DCLS]["map_difference_low"])
    assert sum(map(len, headline.values())) == 3 * (7 + 3 + 3)  # each with both ends of its interval
    headline["mAP_percent"][BASELINE] += 1
    (RESULTS / "summary.json").write_text(json.dumps(headline))
    changed = json.loads(_run("dvc", "metrics", "diff", "--json"))
    (numbers,) = changed[str(RESULTS / "summary.json")].items()
    assert numbers[0] == f"mAP_percent.{BASELINE}" and numbers[1]["diff"] == pytest.approx(1)
