"""The words around the numbers: what made them, where the files disagree, folds, coverage, reference points."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.base.errors import UserError
from harness.comparison.paired import compare
from harness.config.params import Params
from harness.records.code_closure import stage_fingerprint
from harness.report.tables import tables
from tests.report.conftest import BASELINE, DCLS, RESULTS, TABLE, edit, folder_of, pair_of, rows_of_table


def test_header_says_what_made_it(made: Path) -> None:
    for suffix in (".md", ".tex"):
        text = TABLE.with_suffix(suffix).read_text()
        for part in (
            "160 clips and 10 classes",
            "depths 1-1-3-1",
            "8 epochs",
            "full-size models, inference, float32, eager, channels",
            "batch 4, on ",
            f"code {stage_fingerprint('train')[:10]}",
            f"code {stage_fingerprint('evaluate')[:10]}",
            "not AudioSet; reduced models",
        ):
            assert part in text
        assert "disagree" not in text


def _as_in_the_paper(record: dict[str, Any]) -> None:
    record["parameters"]["data"]["kind"] = "audioset"
    model = {"scale": "full", "start": "imagenet", "depths": None, "widths": None}
    record["parameters"]["model"] |= model
    record["parameters"]["schedule"]["epochs"] = 60
    if record["parameters"]["model"]["dcls"]:
        record["parameters"]["model"]["dcls"] |= {"position_std": 0.5, "position_rate": 5.0}
    if record["kind"] == "training":
        record["start"] = {"source": "timm/a-model", "sha256": "a" * 64}


def _edit_training(change: Callable[[dict[str, Any]], object]) -> None:
    for path in RESULTS.glob("runs/conv*/*/*.json"):
        if path.name != "metrics.json":
            edit(path, change)


def test_no_warning_where_all_is_as_in_the_paper(workplace: Path, report_params: Params) -> None:
    _edit_training(_as_in_the_paper)
    for seed in report_params.seeds:  # the paper trains FastViT from scratch
        for model in ("fastvit_audio_sa24", "fastvit_dcls_audio_sa24"):
            for name in ("training/run.json", "evaluation/evaluation.json"):
                edit(folder_of(model, seed) / name, _as_in_the_paper)
                edit(folder_of(model, seed) / name, lambda one: one["parameters"]["model"].update(start="random"))
    tables(report_params)
    text = TABLE.with_suffix(".md").read_text()
    assert "Not the paper's experiment" not in text
    assert "full-size models, 60 epochs, from ImageNet weights (convformer_audio_s18," in text
    assert "full-size models, 60 epochs, from scratch (fastvit_audio_sa24, fastvit_dcls_audio_sa24)." in text
    start = (
        "- **Starting weights**: timm/a-model, SHA-256 aaaaaaaaaaaa (convformer_audio_s18, convformer_dcls_audio_s18"
    )
    assert start in text and "; random (fastvit_audio_sa24, fastvit_dcls_audio_sa24)." in text
    assert "disagree in data settings" in text  # the linear baseline was left as it was

    edit(folder_of(DCLS, 1) / "training" / "run.json", lambda one: one["start"].update(sha256="b" * 64))
    tables(report_params)
    assert f"disagree in starting weights of {DCLS}: timm/a-model, SHA-256 aaaa" in TABLE.with_suffix(".md").read_text()
    _edit_training(lambda one: one["parameters"]["model"].update(start="random"))
    tables(report_params)
    assert "(no ImageNet weights at the start)" in TABLE.with_suffix(".md").read_text()


def test_published_weights_are_called_so(workplace: Path, report_params: Params) -> None:
    def published(record: dict[str, Any]) -> None:
        _as_in_the_paper(record)
        record["parameters"]["model"]["start"] = "published"
        record["parameters"]["schedule"]["epochs"] = 0
        record["parameters"]["train"]["batch"] = 4096

    params = report_params.model_copy(update={"models": (BASELINE, DCLS)})
    _edit_training(published)
    tables(params)
    text = TABLE.with_suffix(".md").read_text()
    assert "- **Trained models**: full-size models, the authors' published weights." in text
    assert f"- **Convolutions**: 7x7 ({BASELINE}); DCLS 26 in 23x23, gauss, std 0.5, rate 5 ({DCLS})" in text
    assert "- **Training**: none here; scored on CPU, float32." in text
    assert "- **Starting weights**: timm/a-model, SHA-256 aaaaaaaaaaaa." in text
    assert "0 epoch" not in text and "4096" not in text and "Not the paper's experiment" not in text


def test_micro_batches_are_told(workplace: Path, report_params: Params) -> None:
    _edit_training(lambda one: one["parameters"]["train"].update(batch=4096, micro_batch=64))
    tables(report_params.model_copy(update={"models": (BASELINE, DCLS)}))
    assert "- **Training**: batch 4096 in micro-batches of 64, seeds 0, 1, 2" in TABLE.with_suffix(".md").read_text()


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        (
            "evaluation/evaluation.json",
            lambda one: one.update(code_fingerprint="f" * 64),
            f"disagree in evaluation code: code {stage_fingerprint('evaluate')[:10]} in 17 records; code ffffffffff in",
        ),
        (
            "training/run.json",
            lambda one: one.update(code_fingerprint=None, revision="0123456789abc"),
            "revision 0123456789 in",
        ),
        (
            "evaluation/evaluation.json",
            lambda one: one.update(data_fingerprint="e" * 64),
            "disagree in data fingerprint",
        ),
        (
            "training/run.json",
            lambda one: one.update(device="NVIDIA H200"),
            f"NVIDIA H200 in runs/{DCLS}-1/training/run.json",
        ),
        (
            "training/run.json",
            lambda one: one["parameters"]["schedule"].update(epochs=3),
            f"disagree in scale and epochs of {DCLS}",
        ),
    ],
)
def test_disagreeing_files_are_named(
    workplace: Path, report_params: Params, name: str, change: Callable[[dict[str, Any]], object], said: str
) -> None:
    edit(folder_of(DCLS, 1) / name, change)
    tables(report_params)
    assert said in TABLE.with_suffix(".md").read_text()
    assert f"{DCLS}-1/{name}" in TABLE.with_suffix(".md").read_text()


def test_models_of_different_scales_are_told_apart(workplace: Path, report_params: Params) -> None:
    for seed in report_params.seeds:
        for model in (DCLS, BASELINE):
            edit(
                folder_of(model, seed) / "training" / "run.json",
                lambda one: one["parameters"]["model"].update(depths=[2, 2, 2, 2]),
            )
    tables(report_params)
    said = f"reduced models (depths 2-2-2-2, widths 32-64-128-256), 8 epochs, from scratch ({BASELINE}, {DCLS})"
    assert said in TABLE.with_suffix(".md").read_text()
    assert rows_of_table()[DCLS]["depths"] == "2 2 2 2"


def test_folds_are_called_folds_and_their_clips_counted(folds: Path, fold_params: Params) -> None:
    tables(fold_params)
    page, tex = (Path(f"paper_tables/esc10/table1.{suffix}").read_text() for suffix in ("md", "tex"))
    assert "test split of 160 clips in 5 folds of 32 and 10 classes" in page
    assert "(5 folds)" in page and "(n 5)" not in page.split("Reference points")[0] and "(seed s tests on fold" in page
    with open("paper_tables/esc10/table1.csv", newline="") as file:
        rows = {row["model"]: row for row in csv.DictReader(file)}
    assert {row["test_clips"] for row in rows.values()} == {"160"} and rows[DCLS]["repeats"] == "folds"
    with open("paper_tables/esc10/per_seed.csv", newline="") as file:
        assert [row["fold"] for row in csv.DictReader(file)][:5] == ["fold1", "fold2", "fold3", "fold4", "fold5"]
    assert "fold3, seed 2" in Path("paper_tables/esc10/per_seed.md").read_text()
    prevalences = [json.loads(path.read_text())["prevalence"] for path in _esc10("linear_baseline-*")]
    assert len(set(prevalences)) == 5
    assert float(rows["chance"]["map_mean"]) == pytest.approx(100 * np.mean(prevalences))
    for text in ("on a fold of its own", "makes it too wide"):
        assert text in page and text in tex


def _esc10(runs: str) -> list[Path]:
    return sorted(Path("results/esc10/runs").glob(f"{runs}/evaluation/metrics.json"))


def test_seeds_that_share_a_fold_are_no_folds(folds: Path, fold_params: Params) -> None:
    """Two of six seeds test on fold 1: six runs, on the clips of five folds."""
    for path in Path("results/esc10/runs").glob("*-0"):
        shutil.copytree(path, path.with_name(path.name.replace("-0", "-5")))
    for path in Path("predictions/esc10").glob("*-0.npz"):
        shutil.copy(path, path.with_name(path.name.replace("-0", "-5")))
    params = fold_params.model_copy(update={"seeds": (0, 1, 2, 3, 4, 5), "linear_baseline_seeds": (0, 1, 2, 3, 4, 5)})
    compare(params)
    tables(params)
    page = Path("paper_tables/esc10/table1.md").read_text()
    assert "160 clips in 5 folds of 32" in page and "(n 6)" in page and "(5 folds)" not in page
    pair = pair_of(json.loads(Path("results/esc10/comparison.json").read_text()), DCLS)
    assert (pair["n"], pair["test_sets"], pair["clips"]) == (6, 5, 160)


def test_reference_points_stand_below_the_table_as_not_of_this_run(
    folds: Path, fold_params: Params, report_params: Params
) -> None:
    tables(fold_params)
    page = Path("paper_tables/esc10/table1.md").read_text()
    below = page.split("**Reference points: not produced by this run**")[1].split("**System minus")[0]
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in below.strip().splitlines()[2:]]
    made_at = "measured while this project was designed"
    assert lines == [
        ["YAMNet, zero-shot", made_at, "92.20"],
        ["log-mel statistics + a linear classifier", made_at, "86.10 ± 2.70 (n 5)"],
        ["chance", made_at, "10.00"],
    ]
    assert "YAMNet" not in Path("paper_tables/esc10/table1.csv").read_text()
    Path("paper_tables/reference_points.csv").write_text("preset,name,mAP\nesc10,x,high\n")
    with pytest.raises(UserError, match=r"^paper_tables/reference_points.csv: .*restore the file"):
        tables(fold_params)


def test_a_preset_without_reference_points_has_no_such_table(made: Path) -> None:
    assert "Reference points" not in TABLE.with_suffix(".md").read_text()


@pytest.mark.parametrize(
    ("test", "said"),
    [
        ({"listed": 20371, "ok": 18685}, "91.7% of the 20,371 listed eval clips"),
        ({"listed": 20371, "ok": 20371}, "100.0% of the 20,371 listed eval clips"),
        ({"listed": None, "ok": 18685}, "share of the official eval clips unknown"),
    ],
)
def test_coverage_stands_beside_an_audioset_map(
    workplace: Path, report_params: Params, test: dict[str, int | None], said: str
) -> None:
    edit(RESULTS / "data.json", lambda one: one.update(coverage={"test": test}))
    tables(report_params)
    assert said not in TABLE.with_suffix(".md").read_text()  # not AudioSet
    for path in RESULTS.glob("runs/*/*/*.json"):
        if path.name != "metrics.json":
            edit(path, lambda one: one["parameters"]["data"].update(kind="audioset"))
    tables(report_params)
    page = TABLE.with_suffix(".md").read_text()
    assert f"test split of 160 clips ({said}" in page
    assert re.search(rf"\| +mAP reproduced \({re.escape(said)}", page)
    assert said in Path("paper_tables/instruments/per_seed.md").read_text()
