"""Tables: the numbers against numpy and scipy, the words, the header, and that CSV, Markdown and LaTeX agree."""

from __future__ import annotations

import csv
import dataclasses
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import t

from harness import paths
from harness.errors import UserError
from harness.params import Params
from harness.report.load import Run, load_results
from harness.report.summary import difference, summary
from harness.report.tables import escape, tables

TABLE = Path("paper_tables/instruments/table1")
RESULTS = paths.results("instruments")
DCLS, BASELINE = "convnext_dcls_audio_tiny", "convnext_audio_tiny"


def _folder(model: str, seed: int) -> Path:
    return paths.result("instruments", model, seed)


@pytest.fixture
def made(workplace: Path, report_params: Params) -> Path:
    tables(report_params)
    return workplace


def _csv() -> dict[str, dict[str, str]]:
    with open(TABLE.with_suffix(".csv"), newline="") as file:
        return {row["model"]: row for row in csv.DictReader(file)}


def _maps(model: str, key: str = "mAP") -> np.ndarray:
    return np.array([json.loads((_folder(model, seed) / "metrics.json").read_text())[key] for seed in (0, 1, 2)])


def _edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


def _run(seed: int, value: float, half_width: float = 0.0) -> Run:
    metrics = {"mAP": value, "mAP_low": value - half_width, "mAP_high": value + half_width}
    return Run("any", seed, metrics, {}, {})


def test_means_and_deviations_over_seeds_are_numpys(made: Path, report_params: Params) -> None:
    rows = _csv()
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


def test_differences_are_of_paired_seeds_and_the_interval_is_the_rule(made: Path) -> None:
    row, paired = _csv()[DCLS], 100 * (_maps(DCLS) - _maps(BASELINE))
    assert float(row["map_difference_mean"]) == pytest.approx(paired.mean(), rel=1e-9)
    assert float(row["map_difference_sd"]) == pytest.approx(paired.std(ddof=1), rel=1e-9)
    parts = [t.ppf(0.975, 2) * paired.std(ddof=1) / np.sqrt(3)]
    for model in (DCLS, BASELINE):
        up, down = _maps(model, "mAP_high") - _maps(model), _maps(model) - _maps(model, "mAP_low")
        parts.append(100 * np.maximum(up, down).max())
    half_width = np.sqrt(np.square(parts).sum())
    assert float(row["map_difference_low"]) == pytest.approx(paired.mean() - half_width, rel=1e-9)
    assert float(row["map_difference_high"]) == pytest.approx(paired.mean() + half_width, rel=1e-9)
    assert row["map_difference_in_words"] == "not distinguishable"
    assert float(row["map_difference_published"]) == 0.69


def test_times_parameters_and_ratio_are_those_of_the_files(made: Path) -> None:
    row = _csv()[DCLS]
    timing = json.loads((RESULTS / "throughput" / f"{DCLS}.json").read_text())["classes"]
    for classes in ("527", "1000"):
        assert float(row[f"throughput_{classes}"]) == timing[classes]["throughput"]
        assert float(row[f"throughput_{classes}_low"]) == timing[classes]["throughput_low"]
        assert float(row[f"throughput_{classes}_high"]) == timing[classes]["throughput_high"]
        assert float(row[f"speed_ratio_{classes}"]) == timing[classes]["speed_relative_to_counterpart"]
        assert int(row[f"parameters_{classes}"]) == timing[classes]["parameters"]
    assert float(row["speed_ratio_published"]) == 509.4 / 591.4
    assert row["parameters_published"] == "28600000" and row["parameters_trained"] == "1234567"
    assert _csv()[BASELINE]["speed_ratio_527"] == ""  # the ratio is DCLS over baseline, said once


@pytest.mark.parametrize(
    ("dcls", "baseline", "half_width", "said"),
    [
        ([0.50, 0.51, 0.52], [0.40, 0.41, 0.42], 0.01, "higher"),
        ([0.40, 0.41, 0.42], [0.50, 0.51, 0.52], 0.01, "lower"),
        ([0.50, 0.51, 0.52], [0.40, 0.41, 0.42], 0.08, "not distinguishable"),  # few test clips
        ([0.50, 0.41, 0.62], [0.40, 0.41, 0.42], 0.0, "not distinguishable"),  # seeds differ
        ([0.50, 0.53], [0.45, 0.45], 0.0, "not distinguishable"),  # two seeds weigh little
        ([0.90], [0.10], 0.0, "not distinguishable"),  # one seed says nothing
        ([0.5, 0.5], [0.5, 0.5], 0.0, "not distinguishable"),
    ],
)
def test_words_say_no_more_than_the_data_hold(
    dcls: list[float], baseline: list[float], half_width: float, said: str
) -> None:
    runs = [[_run(seed, value, half_width) for seed, value in enumerate(values)] for values in (dcls, baseline)]
    found = difference(*runs)
    assert found is not None and found.words == said and found.pairs == len(dcls)


def test_difference_pairs_by_seed_and_needs_a_common_one() -> None:
    found = difference([_run(0, 0.3), _run(7, 0.5)], [_run(7, 0.4), _run(0, 0.1)])
    assert (
        found is not None
        and found.mean == pytest.approx(15)
        and found.sd == pytest.approx(100 * np.std([0.2, 0.1], ddof=1))
    )
    assert difference([_run(0, 0.3)], [_run(1, 0.3)]) is None


def test_one_seed_or_no_baseline(workplace: Path, report_params: Params) -> None:
    tables(
        dataclasses.replace(report_params, seeds=(1,), models=(DCLS, "fastvit_audio_sa24", "fastvit_dcls_audio_sa24"))
    )
    rows = _csv()
    assert list(rows)[:3] == ["fastvit_audio_sa24", "fastvit_dcls_audio_sa24", DCLS]  # the paper's order
    assert rows[DCLS]["map_sd"] == "" and rows[DCLS]["map_seeds"] == "1"
    assert rows[DCLS]["map_difference_mean"] == "" and rows[DCLS]["speed_ratio_527"] != ""
    assert rows["fastvit_dcls_audio_sa24"]["map_difference_in_words"] == "not distinguishable"
    text = TABLE.with_suffix(".md").read_text()
    assert "baseline not run" in text and "(n 1)" in text and "nan" not in text


def test_only_baselines(workplace: Path, report_params: Params) -> None:
    tables(dataclasses.replace(report_params, models=(BASELINE,)))
    assert "DCLS minus baseline" not in TABLE.with_suffix(".md").read_text()


def test_markdown_and_latex_hold_the_numbers_of_the_csv(made: Path, report_params: Params) -> None:
    page = TABLE.with_suffix(".md").read_text()
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in page.splitlines()
        if line.startswith("| ") and not set(line) <= set("|-: ")
    ]
    in_latex = [
        [
            re.sub(r"\\([&%$#_{}])", r"\1", cell.replace(r"$\pm$", "±").replace("$-$", "-")).strip()
            for cell in line[:-3].split(" & ")
        ]
        for line in TABLE.with_suffix(".tex").read_text().splitlines()
        if line.endswith(r" \\")
    ]
    assert cells == in_latex
    rows, shown = _csv(), {row[0]: row for row in reversed(cells)}  # the first table's rows
    for model in report_params.models:
        row = rows[model]
        assert shown[model][2] == f"{float(row['map_published']):.2f} ± {float(row['map_sd_published']):.2f}"
        assert shown[model][3] == f"{float(row['map_mean']):.2f} ± {float(row['map_sd']):.2f} (n 3)"
        assert shown[model][5] == f"{float(row['parameters_published']) / 1e6:.1f}M"
        assert shown[model][7] == row["throughput_published"]
        assert float(shown[model][8]) == pytest.approx(float(row["throughput_527"]), rel=5e-3)


def test_header_says_what_made_it(made: Path) -> None:
    for suffix in (".md", ".tex"):
        text = TABLE.with_suffix(suffix).read_text()
        for part in (
            "160 clips and 10 classes",
            "depths 1-1-3-1",
            "8 epochs",
            "10 batches of 1, float32",
            "revision 0123456789",
            "not AudioSet; reduced models",
        ):
            assert part in text
        assert "disagree" not in text and "uncommitted" not in text


def test_no_warning_where_all_is_as_in_the_paper(workplace: Path, report_params: Params) -> None:
    def as_in_the_paper(record: dict[str, Any]) -> None:
        record["parameters"]["preset"] = "audioset"
        record["parameters"]["data"]["kind"] = "folder"
        record["parameters"]["model"] |= {
            "epochs": 60,
            "scale": "full",
            "imagenet": True,
            "depths": None,
            "widths": None,
        }

    for path in RESULTS.glob("runs/*/*.json"):
        if path.name != "metrics.json":
            _edit(path, as_in_the_paper)
    tables(report_params)
    text = TABLE.with_suffix(".md").read_text()
    assert "Not the paper's experiment" not in text
    trained = "full-size models, 60 epochs, from ImageNet weights; DCLS of 26 elements in 23x23, gauss."
    assert f"- **Trained models**: {trained}" in text
    assert "disagree in data settings" in text  # the linear baseline was left as it was


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        (
            "evaluation.json",
            lambda one: one["code"].update(revision="f" * 40),
            "disagree in code revision: revision 0123456789",
        ),
        ("run.json", lambda one: one["code"].update(dirty=True), "revision 0123456789 with uncommitted changes in"),
        ("evaluation.json", lambda one: one.update(data_fingerprint="e" * 64), "disagree in data fingerprint"),
        ("run.json", lambda one: one.update(device="NVIDIA H200"), f"NVIDIA H200 in runs/{DCLS}-1/run.json"),
        (
            "run.json",
            lambda one: one["parameters"]["model"].update(epochs=3),
            f"disagree in scale and epochs of {DCLS}",
        ),
        ("run.json", lambda one: one["code"].update(revision=None), "not from a Git checkout"),
    ],
)
def test_disagreeing_files_are_named(
    workplace: Path, report_params: Params, name: str, change: Callable[[dict[str, Any]], object], said: str
) -> None:
    _edit(_folder(DCLS, 1) / name, change)
    tables(report_params)
    assert said in TABLE.with_suffix(".md").read_text()
    assert f"{DCLS}-1/{name}" in TABLE.with_suffix(".md").read_text()


def test_models_of_different_scales_are_told_apart(workplace: Path, report_params: Params) -> None:
    for seed in report_params.seeds:
        for model in (DCLS, BASELINE):
            _edit(_folder(model, seed) / "run.json", lambda one: one["parameters"]["model"].update(depths=[2, 2, 2, 2]))
    tables(report_params)
    said = f"reduced models (depths 2-2-2-2, widths 32-64-128-256), 8 epochs, from scratch ({BASELINE}, {DCLS})"
    assert said in TABLE.with_suffix(".md").read_text()
    assert _csv()[DCLS]["depths"] == "2 2 2 2"


@pytest.mark.parametrize(
    "missing",
    [
        f"runs/{DCLS}-2/metrics.json",
        f"runs/{DCLS}-2/evaluation.json",
        f"runs/{DCLS}-2/run.json",
        f"throughput/{DCLS}.json",
        f"throughput/{DCLS}.run.json",
        "linear_baseline/metrics.json",
        "linear_baseline/evaluation.json",
    ],
)
def test_a_missing_file_is_named_on_one_line(workplace: Path, report_params: Params, missing: str) -> None:
    (RESULTS / missing).unlink()
    with pytest.raises(UserError, match=f"^{re.escape(str(RESULTS / missing))}: missing") as caught:
        tables(report_params)
    assert "\n" not in str(caught.value)


def test_files_of_another_version_are_refused(workplace: Path, report_params: Params) -> None:
    _edit(_folder(DCLS, 0) / "metrics.json", lambda one: one.pop("mAP_low"))
    with pytest.raises(UserError, match=rf"{DCLS}-0/metrics.json: no 'mAP_low' in it"):
        tables(report_params)
    _edit(_folder(DCLS, 0) / "metrics.json", lambda one: one.update(mAP_low=0.1))
    _edit(_folder(DCLS, 0) / "run.json", lambda one: one.update(schema_version=0))
    with pytest.raises(UserError, match=rf"{DCLS}-0/run.json: schema version 0"):
        tables(report_params)
    Path("paper_tables/published.csv").write_text("model,backbone\nx,y\n")
    with pytest.raises(UserError, match=r"published.csv: row .*restore the file"):
        tables(report_params)


def test_the_same_results_give_the_same_bytes(made: Path, report_params: Params) -> None:
    suffixes = (".csv", ".md", ".tex")
    first = [TABLE.with_suffix(suffix).read_bytes() for suffix in suffixes]
    tables(report_params)
    assert first == [TABLE.with_suffix(suffix).read_bytes() for suffix in suffixes]
    assert summary(load_results(report_params)) == summary(load_results(report_params))


def test_latex_is_well_formed(made: Path) -> None:
    text = TABLE.with_suffix(".tex").read_text()
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    plain = re.sub(r"\\[\\{}%&_#$]", "", body)  # without escaped characters and line ends
    assert plain.count("{") == plain.count("}")
    assert not re.search(r"[_#%~^]", plain.replace("%\n", "\n").replace("\\label{tab:", ""))
    for block in re.findall(r"\\begin\{tabular\}.*?\\end\{tabular\}", body, re.DOTALL):
        columns = len(re.match(r"\\begin\{tabular\}\{([lr]+)\}", block)[1])  # type: ignore[index]
        rows = [line for line in block.splitlines() if line.endswith(r"\\")]
        assert rows and all(line.count(" & ") == columns - 1 for line in rows)
    begun, ended = re.findall(r"\\begin\{(\w+)\}", body), re.findall(r"\\end\{(\w+)\}", body)
    assert sorted(begun) == sorted(ended)


def test_escape_covers_what_latex_reads_otherwise() -> None:
    assert escape(r"a_b & 5% #1 {x} $ ~ ^ \ ") == (
        r"a\_b \& 5\% \#1 \{x\} \$ \textasciitilde{} \textasciicircum{} \textbackslash{} "
    )
    assert escape("-1.5 to +2, 1-1-3") == "$-$1.5 to +2, 1-1-3"


def test_reports_import_nothing_heavy() -> None:
    """`show` ends every `make repro`; figures need matplotlib alone."""
    code = "import sys, harness.report.{0}; print(*({{{1}}} & set(sys.modules)))"
    for module, heavy in (
        ("show", "'torch', 'timm', 'matplotlib', 'pandas', 'numpy', 'scipy'"),
        ("figures", "'torch', 'timm', 'pandas', 'seaborn'"),
    ):
        run = [sys.executable, "-c", code.format(module, heavy)]
        assert subprocess.run(run, capture_output=True, text=True, check=True).stdout.split() == []
