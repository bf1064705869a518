"""Tables: the numbers against numpy and scipy, the words, the header, and that CSV, Markdown and LaTeX agree."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness.base.errors import UserError
from harness.comparison.paired import compare
from harness.config.params import Params
from harness.report.frames import load_frames
from harness.report.made_by import made_by
from harness.report.tables import report_tables, tables
from tests.report.conftest import BASELINE, DCLS, RESULTS, TABLE, edit, folder_of, pair_of, rows_of_table, timing_of


def _maps(model: str, key: str = "mAP") -> np.ndarray:
    return np.array(
        [json.loads((folder_of(model, seed) / "evaluation" / "metrics.json").read_text())[key] for seed in (0, 1, 2)]
    )


def test_means_and_deviations_over_seeds_are_numpys(made: Path, report_params: Params) -> None:
    rows = rows_of_table()
    assert list(rows) == [*report_params.models, "linear_baseline", "chance"]
    for model in report_params.models:
        row = rows[model]
        assert float(row["map_mean"]) == pytest.approx(100 * _maps(model).mean(), rel=1e-12)
        assert float(row["map_sd"]) == pytest.approx(100 * _maps(model).std(ddof=1), rel=1e-9)
        assert float(row["map_intervals_lowest"]) == pytest.approx(100 * _maps(model, "mAP_low").min(), rel=1e-12)
        assert float(row["map_intervals_highest"]) == pytest.approx(100 * _maps(model, "mAP_high").max(), rel=1e-12)
        assert row["map_seeds"] == "3"
    prevalence = _maps(DCLS, "prevalence")[0]
    assert float(rows["chance"]["map_mean"]) == 100 * prevalence
    assert float(rows[DCLS]["map_over_chance"]) == pytest.approx(_maps(DCLS).mean() / prevalence, rel=1e-12)


def test_differences_intervals_and_words_are_those_of_the_comparison(made: Path) -> None:
    row, found = rows_of_table()[DCLS], pair_of(json.loads((RESULTS / "comparison.json").read_text()), DCLS)
    assert float(row["map_difference_mean"]) == pytest.approx(100 * (_maps(DCLS) - _maps(BASELINE)).mean(), rel=1e-9)
    for name in ("mean", "sd", "low", "high", "clips_low", "clips_high"):
        assert float(row[f"map_difference_{name}"]) == 100 * found[name]
    assert row["map_difference_in_words"].startswith(found["verdict"]) and row["map_difference_seeds"] == "3"
    assert float(row["map_difference_published"]) == 0.69
    lines = TABLE.with_suffix(".md").read_text().split("**System minus")[1].splitlines()
    shown = next(line for line in lines if line.startswith(f"| {DCLS} ") and f"| {found['verdict']}" in line)
    assert f"{100 * found['low']:+.2f} to {100 * found['high']:+.2f}" in shown
    assert f"{100 * found['clips_low']:+.2f} to {100 * found['clips_high']:+.2f}" in shown


@pytest.mark.parametrize(("said", "shown"), [("higher", "higher for these weights"), ("not distinguishable", None)])
def test_one_seed_speaks_for_its_weights_alone(
    workplace: Path, report_params: Params, said: str, shown: str | None
) -> None:
    params = report_params.model_copy(update={"seeds": (1,), "linear_baseline_seeds": (1,), "models": (DCLS, BASELINE)})
    compare(params)
    edit(RESULTS / "comparison.json", lambda one: pair_of(one, DCLS).update(verdict_for_these_weights=said))
    tables(params)
    row = rows_of_table()[DCLS]
    assert row["map_difference_in_words"] == (shown or f"{said} with 1 seed")
    assert row["map_difference_low"] == "" != row["map_difference_clips_low"]


@pytest.mark.parametrize(
    "change",
    [
        lambda one: pair_of(one, DCLS)["differences"].update({"1": 0.5}),  # other weights
        lambda one: pair_of(one, DCLS)["differences"].update({"3": 0.5}),  # a seed more
        lambda one: pair_of(one, DCLS)["differences"].pop("2"),
    ],
)
def test_a_comparison_of_other_runs_is_refused(
    workplace: Path, report_params: Params, change: Callable[[dict[str, Any]], object]
) -> None:
    edit(RESULTS / "comparison.json", change)
    with pytest.raises(
        UserError, match=rf"^results/instruments/comparison.json: {DCLS} is of other runs .*`compare-models`"
    ):
        tables(report_params)


def test_every_run_has_its_line(made: Path, report_params: Params) -> None:
    with open("paper_tables/instruments/per_seed.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["model"] for row in rows[::3]] == [*report_params.models, "linear_baseline"]
    page = Path("paper_tables/instruments/per_seed.md").read_text()
    assert "seed 0" in page and "fold" not in page
    for row in rows:
        metrics = json.loads((folder_of(row["model"], int(row["seed"])) / "evaluation" / "metrics.json").read_text())
        values = [float(row[name]) for name in ("map", "map_low", "map_high")]
        assert values == [100 * metrics[name] for name in ("mAP", "mAP_low", "mAP_high")]
        assert row["test_clips"] == "160" and row["fold"] == ""
        assert f"{values[0]:.2f} ({values[1]:.2f} to {values[2]:.2f})" in page


def test_times_parameters_and_ratio_are_those_of_the_files(made: Path) -> None:
    row = rows_of_table()[DCLS]
    timing = timing_of(DCLS)
    for end in ("", "_low", "_high"):
        assert row[f"throughput_527{end}"] == timing[f"throughput{end}"]
        assert row[f"speed_ratio_527{end}"] == timing[f"ratio_to_baseline{end}"]
    assert row["speed_ratio_noise"] == timing["no_difference_below"] and row["timing_batch"] == timing["batch"] == "4"
    assert row["speed_in_words"] == f"slower by {100 * (1 - float(row['speed_ratio_527'])):.0f}%"
    assert row["timing_condition"] == "inference, float32, eager, channels_last, batch 4"
    for classes in ("527", "1000"):
        assert row[f"parameters_{classes}"] == timing[f"parameters_{classes}"]
    assert float(row["speed_ratio_published"]) == 509.4 / 591.4
    assert row["parameters_published"] == "28600000" and row["parameters_trained"] == "1234567"
    assert rows_of_table()[BASELINE]["speed_ratio_527"] == ""  # the ratio is DCLS over baseline, said once


def test_one_seed_or_no_baseline(workplace: Path, report_params: Params) -> None:
    models = (DCLS, "fastvit_audio_sa24", "fastvit_dcls_audio_sa24")
    params = report_params.model_copy(update={"seeds": (1,), "linear_baseline_seeds": (1,), "models": models})
    compare(params)
    tables(params)
    rows = rows_of_table()
    assert list(rows)[:3] == ["fastvit_audio_sa24", "fastvit_dcls_audio_sa24", DCLS]  # the paper's order
    assert rows[DCLS]["map_sd"] == "" and rows[DCLS]["map_seeds"] == "1"
    assert rows[DCLS]["map_difference_mean"] == "" and rows[DCLS]["speed_ratio_527"] != ""
    assert rows["fastvit_dcls_audio_sa24"]["map_difference_in_words"] == "not distinguishable with 1 seed"
    text = TABLE.with_suffix(".md").read_text()
    assert "baseline not run" in text and "(n 1)" in text and "nan" not in text


def test_only_baselines(workplace: Path, report_params: Params) -> None:
    tables(report_params.model_copy(update={"models": (BASELINE,)}))
    assert "System minus baseline" not in TABLE.with_suffix(".md").read_text()


def _on_one_line(stacked: re.Match[str]) -> str:
    return stacked[1].replace(r" \\ ", " ")


def test_markdown_and_latex_hold_the_numbers_of_the_csv(made: Path, report_params: Params) -> None:
    page = TABLE.with_suffix(".md").read_text()
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in page.splitlines()
        if line.startswith("| ") and not set(line) <= set("|-: ")
    ]
    latex = TABLE.with_suffix(".tex").read_text()
    in_latex = [
        [
            re.sub(r"\\([&%$#_{}])", r"\1", cell.replace(r"$\pm$", "±").replace("$-$", "-")).strip()
            for cell in line[:-3].split(" & ")
        ]
        for line in re.sub(r"\\shortstack\[[lr]\]\{(.*?)\}", _on_one_line, latex).splitlines()
        if line.endswith(r" \\")
    ]
    assert cells == in_latex
    rows, shown = rows_of_table(), {row[0]: row for row in reversed(cells)}  # the first table's rows
    for model in report_params.models:
        row = rows[model]
        assert shown[model][2] == f"{float(row['map_published']):.2f} ± {float(row['map_sd_published']):.2f}"
        assert shown[model][3] == f"{float(row['map_mean']):.2f} ± {float(row['map_sd']):.2f} (n 3)"
        assert shown[model][5] == f"{float(row['parameters_published']) / 1e6:.1f}M"
        assert shown[model][7] == row["throughput_published"]
        assert float(shown[model][8]) == pytest.approx(float(row["throughput_527"]), rel=5e-3)


@pytest.mark.parametrize(
    "missing",
    [
        f"runs/{DCLS}-2/evaluation/metrics.json",
        f"runs/{DCLS}-2/evaluation/evaluation.json",
        f"runs/{DCLS}-2/training/run.json",
        "runs/linear_baseline-2/evaluation/metrics.json",
        "runs/linear_baseline-2/evaluation/evaluation.json",
        "comparison.json",
        "comparison.run.json",
        "data.json",
        "parameters.json",
        "parameters.run.json",
        "per_class_difference.csv",
        f"runs/{DCLS}-2/training/history.csv",
    ],
)
def test_a_missing_file_is_named_on_one_line(workplace: Path, report_params: Params, missing: str) -> None:
    (RESULTS / missing).unlink()
    with pytest.raises(UserError, match=f"^{re.escape(str(RESULTS / missing))}: missing") as caught:
        tables(report_params)
    assert "\n" not in str(caught.value)


def test_files_of_another_version_are_refused(workplace: Path, report_params: Params) -> None:
    edit(folder_of(DCLS, 0) / "evaluation" / "metrics.json", lambda one: one.pop("mAP_low"))
    with pytest.raises(UserError, match=rf"{DCLS}-0/evaluation/metrics.json: no 'mAP_low' in it"):
        tables(report_params)
    edit(folder_of(DCLS, 0) / "evaluation" / "metrics.json", lambda one: one.update(mAP_low=0.1))
    edit(folder_of(DCLS, 0) / "training" / "run.json", lambda one: one.update(schema_version=0))
    with pytest.raises(UserError, match=rf"{DCLS}-0/training/run.json: schema version 0"):
        tables(report_params)
    Path("paper_tables/published.csv").write_text("model,backbone\nx,y\n")
    with pytest.raises(UserError, match=r"published.csv: no column 'method'"):
        tables(report_params)


def test_the_same_results_give_the_same_bytes(made: Path, report_params: Params) -> None:
    suffixes = (".csv", ".md", ".tex")
    first = [TABLE.with_suffix(suffix).read_bytes() for suffix in suffixes]
    tables(report_params)
    assert first == [TABLE.with_suffix(suffix).read_bytes() for suffix in suffixes]
    one, other = load_frames(report_params), load_frames(report_params)
    for table, again in zip(*(report_tables(frames, made_by(frames)) for frames in (one, other)), strict=True):
        pd.testing.assert_frame_equal(table.frame, again.frame)


def test_reports_import_nothing_heavy() -> None:
    """`show` ends every `make repro`; no report needs PyTorch."""
    code = "import sys, harness.report.{0}; print(*({{{1}}} & set(sys.modules)))"
    for module, heavy in (
        ("show", "'torch', 'timm', 'matplotlib', 'pandas', 'numpy', 'scipy'"),
        ("tables", "'torch', 'timm', 'matplotlib', 'seaborn'"),
        ("figures.draw", "'torch', 'timm', 'torchvision'"),
    ):
        run = [sys.executable, "-c", code.format(module, heavy)]
        assert subprocess.run(run, capture_output=True, text=True, check=True).stdout.split() == []
