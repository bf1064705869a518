"""`show`: fits a terminal, says what the table says, and where it lies."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from harness.base.errors import UserError
from harness.comparison.paired import compare
from harness.config.params import Params
from harness.report.show import show
from harness.report.tables import tables


def test_the_same_numbers_as_the_table_within_100_columns(
    workplace: Path, report_params: Params, capsys: pytest.CaptureFixture[str]
) -> None:
    tables(report_params)
    capsys.readouterr()
    show(report_params)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 100
    printed = {line.split()[0]: line.split() for line in lines if line}
    with open("paper_tables/instruments/table1.csv", newline="") as file:
        rows = {row["model"]: row for row in csv.DictReader(file)}
    for model in report_params.models:
        assert printed[model][1] == f"{float(rows[model]['map_mean']):.2f}"
        assert printed[model][3] == f"{float(rows[model]['map_sd']):.2f}"
        assert printed[model][4] == rows[model]["map_published"].ljust(5, "0")
    ratio, difference, *words = printed["convnext_dcls_audio_tiny"][7:]
    assert ratio == f"{float(rows['convnext_dcls_audio_tiny']['speed_ratio_527']):.2f}"
    assert float(difference) == pytest.approx(float(rows["convnext_dcls_audio_tiny"]["map_difference_mean"]), abs=0.005)
    low, high = (float(rows["convnext_dcls_audio_tiny"][f"map_difference_{end}"]) for end in ("low", "high"))
    assert " ".join(words).startswith(f"({low:+.2f} to {high:+.2f})")
    assert {"linear_baseline", "chance"} < set(printed)
    assert lines[-3:] == [
        "table   paper_tables/instruments/table1.md",
        "report  results/instruments/report.md",
        "page    results/instruments/index.html",
    ]
    assert any(
        line.startswith("instruments: 160 test clips, 10 classes; reduced models, 8 epochs on CPU") for line in lines
    )


def test_one_seed_without_baseline(workplace: Path, report_params: Params, capsys: pytest.CaptureFixture[str]) -> None:
    params = report_params.model_copy(
        update={"seeds": (0,), "linear_baseline_seeds": (0,), "models": ("convnext_dcls_audio_tiny",)}
    )
    compare(params)
    tables(params)
    capsys.readouterr()
    show(params)
    line = next(one for one in capsys.readouterr().out.splitlines() if one.startswith("convnext"))
    assert "±" not in line and "distinguishable" not in line


def test_folds_and_reference_points_fit_too(
    folds: Path, fold_params: Params, capsys: pytest.CaptureFixture[str]
) -> None:
    tables(fold_params)
    capsys.readouterr()
    show(fold_params)
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 100
    assert "here, 5 folds" in out and "esc10: 160 test clips in 5 folds of 32, 10 classes" in out
    assert "Reference points, not of this run (mAP %): YAMNet, zero-shot 92.20; log-mel" in out


def test_the_longest_words_fit(workplace: Path, report_params: Params, capsys: pytest.CaptureFixture[str]) -> None:
    params = report_params.model_copy(update={"seeds": (0,), "linear_baseline_seeds": (0,)})
    compare(params)
    path = Path("results/instruments/comparison.json")
    found = json.loads(path.read_text())
    for pair in found["pairs"]:
        pair["verdict_for_these_weights"] = "higher"
    path.write_text(json.dumps(found))
    tables(params)
    capsys.readouterr()
    show(params)
    out = capsys.readouterr().out
    assert "higher for these weights" in out and max(map(len, out.splitlines())) <= 100


def test_missing_results(workplace: Path, report_params: Params) -> None:
    with pytest.raises(UserError, match=r"^paper_tables/other/table1.txt: missing; run the stage that writes it"):
        show(report_params.model_copy(update={"preset": "other"}))
