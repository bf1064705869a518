"""Statistics, verdicts, conditions and rows: the rules, without a model."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.base import paths
from harness.base.errors import UserError
from harness.base.files import write_csv
from harness.config.params import Params, load
from harness.throughput import outcome, rows
from harness.throughput.condition import QUICK, TORCH, all_conditions, plain_conditions, with_quick_baselines
from harness.throughput.device import label, slug
from harness.throughput.pairs import architectures, pairs
from harness.throughput.statistics import median_interval, noise_of, percentile
from harness.throughput.verdict import in_words
from tests.conftest import ROOT
from tests.throughput.conftest import BASELINE, DCLS, condition


def test_the_interval_covers_the_median_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    hits = 0
    for _ in range(200):
        median, low, high = median_interval(random.exponential(1.0, 60))
        assert low <= median <= high
        hits += low <= np.log(2) <= high
    assert 0.90 <= hits / 200 <= 0.99
    assert median_interval(np.array([3.0, 1.0, 2.0]))[0] == 2.0
    assert median_interval(np.full(5, 7.0)) == (7.0, 7.0, 7.0)


def test_noise_is_how_far_the_interval_reaches() -> None:
    assert noise_of(np.ones(5)) == 0.0
    assert noise_of(np.array([0.9, 0.9, 0.9])) == pytest.approx(0.1)
    one_sided = np.array([1.0] * 20 + [1.3] * 20)
    assert noise_of(one_sided) == pytest.approx(0.3)


def test_percentiles_that_too_few_rounds_cannot_show_are_left_out() -> None:
    values = np.arange(1.0, 101.0)
    assert percentile(values, 99) == np.percentile(values, 99)
    assert percentile(values[:99], 99) is None and percentile(values[:20], 95) is not None
    assert percentile(values[:19], 95) is None and percentile(values[:5], 50) == 3.0


@pytest.mark.parametrize(
    ("ratio", "low", "high", "noise", "said"),
    [
        (0.88, 0.86, 0.9, 0.02, "slower by 12%"),
        (1.05, 1.03, 1.06, 0.01, "faster by 5%"),
        (0.88, 0.86, 0.9, 0.12, "no difference"),  # the model differs as much from itself
        (0.95, 0.8, 1.01, 0.01, "no difference"),  # the interval holds 1
        (1.0, 1.0, 1.0, 0.0, "no difference"),
        (0.5, 0.4, 0.6, None, "noise not measured"),
    ],
)
def test_a_difference_below_the_noise_is_none(ratio: float, low: float, high: float, noise: Any, said: str) -> None:
    assert in_words(ratio, low, high, noise) == said


def test_conditions_are_all_of_them_once_and_the_plain_ones_first() -> None:
    found = all_conditions("Abacus", ("float32", "bf16"), (1, 4), (2,))
    assert len(set(found)) == len(found) == 2 * (2**4) + 1 * 2**3  # batches x precision, compiled, layout, fused
    plain = plain_conditions("Abacus", (1, 4), (2,))
    assert found[:3] == plain and [one.batch for one in plain] == [4, 1, 2]
    assert [one.compiled for one in found] == sorted(one.compiled for one in found)
    assert not any(one.fused and one.mode == "training" for one in found)
    assert condition(fused=True, compiled=True, batch=3).words == (
        "inference, float32, compiled, channels_last, fused, batch 3"
    )


def test_on_a_cpu_training_is_timed_against_the_quick_baseline_too() -> None:
    found = with_quick_baselines(plain_conditions("Abacus", (1,), (4, 2)))
    training = [("training", batch, way) for batch in (4, 2) for way in (TORCH, QUICK)]
    assert [(one.mode, one.batch, one.baseline_depthwise) for one in found] == [("inference", 1, TORCH), *training]
    assert found[2].words == "training, float32, eager, channels_last, baseline with dcls's backward, batch 4"


def test_a_devices_file_has_a_plain_name() -> None:
    hardware = {"processor": "Intel(R) Xeon(R) Processor", "cores": 2, "gpus": ["NVIDIA H100 80GB HBM3"]}
    assert slug(label(hardware, on_gpu=False)) == "intel-xeon-processor-2-cores"
    assert slug(label(hardware, on_gpu=True)) == "nvidia-h100-80gb-hbm3"


def row(model: str, params: Params, batch: int = 1, **more: Any) -> dict[str, Any]:
    empty = dict.fromkeys(rows.COLUMNS)
    return empty | rows.key_cells(params.systems[model].model, condition(batch=batch)) | {"status": rows.OK} | more


def test_systems_that_differ_in_training_alone_are_timed_once() -> None:
    """Of preset `study`, whose 13 systems are of three backbones and, of one, a dense kernel too."""
    study = load(ROOT / "presets" / "study.yaml")
    found = [(one.name, one.model.convolution, one.baseline.convolution) for one in pairs(study)]
    assert found == [
        ("convformer_dcls_audio_s18", "DCLS 26 in 23x23, gauss", "7x7"),
        ("fastvit_dcls_audio_sa24", "DCLS 26 in 23x23, gauss", "7x7"),
        ("convnext_dcls_audio_tiny", "DCLS 26 in 23x23, gauss", "7x7"),
        ("convnext_dense_23", "23x23", "7x7"),
    ]
    assert architectures(study) == [name for name in study.models if "fixed" not in name and "spread" not in name]


def test_a_row_takes_the_place_of_its_own_condition_alone(tmp_path: Path, params: Params) -> None:
    path = tmp_path / "abacus.csv"
    rows.upsert(path, [row(BASELINE, params, throughput=1.5), row(DCLS, params), row(DCLS, params, 2, dirty=False)])
    five = row(DCLS, params, throughput=9) | {"convolution": "DCLS 5 in 23x23, gauss"}
    rows.upsert(path, [row(DCLS, params, throughput=0.1), five])
    found = rows.read(path)
    assert [(one["convolution"], one["batch"], one["throughput"]) for one in found] == [
        ("7x7", "1", "1.5"),
        ("DCLS 26 in 23x23, gauss", "1", "0.1"),
        ("DCLS 26 in 23x23, gauss", "2", ""),
        ("DCLS 5 in 23x23, gauss", "1", "9"),
    ]
    assert found[2]["dirty"] == "no" and found[0]["compiled"] == "no" and found[0]["channels_last"] == "yes"


def test_an_older_file_is_read_and_gets_the_new_column(tmp_path: Path, params: Params) -> None:
    path, choices = tmp_path / "abacus.csv", tmp_path / "abacus.choices.json"
    old = [column for column in rows.COLUMNS if column != "baseline_depthwise"]
    known = {key: rows.text(value) for key, value in row(DCLS, params, throughput=1.5).items() if key in old}
    write_csv(path, old, [known])
    choices.write_text(json.dumps([{key: known[key] for key in rows.KEY if key in old} | {"choices": []}]))
    assert [one["baseline_depthwise"] for one in rows.read(path)] == [TORCH]
    rows.upsert(path, [row(DCLS, params, throughput=2.5), row(DCLS, params, baseline_depthwise=QUICK)])
    assert [(one["throughput"], one["baseline_depthwise"]) for one in rows.read(path)] == [("2.5", TORCH), ("", QUICK)]
    assert path.read_text().splitlines()[0] == ",".join(rows.COLUMNS)
    rows.upsert_choices(
        choices, [rows.key_cells(params.systems[DCLS].model, condition()) | {"choices": [{"backend": "fft"}]}]
    )
    assert [one["choices"] for one in rows.read_choices(choices)] == [[{"backend": "fft"}]]


@pytest.mark.parametrize("path", sorted((ROOT / paths.THROUGHPUT).glob("*.csv")), ids=lambda path: path.name)
def test_the_committed_files_are_read(path: Path) -> None:
    columns = rows.BREAKDOWN if path.name.endswith(".breakdown.csv") else rows.COLUMNS
    assert all(set(row) == set(columns) for row in rows.read(path, columns))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("model,device\n", "not the columns of this version"),
        (",".join(rows.COLUMNS) + "\n" + "x," * 5 + "\n", "line 2 has not"),
        (b"\xff\xfe", "cannot be read"),
    ],
)
def test_other_files_are_refused_and_stay(tmp_path: Path, params: Params, content: str | bytes, said: str) -> None:
    path = tmp_path / "abacus.csv"
    content = content if isinstance(content, bytes) else content.encode()
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"^{path}: .*{said}"):
        rows.upsert(path, [row(DCLS, params)])
    assert path.read_bytes() == content


def test_choices_are_replaced_by_row(tmp_path: Path, params: Params) -> None:
    path = tmp_path / "abacus.choices.json"
    known = rows.key_cells(params.systems[DCLS].model, condition())
    for backend in ("fft", "torch_contiguous"):
        rows.upsert_choices(path, [known | {"choices": [{"backend": backend}]}])
    rows.upsert_choices(path, [rows.key_cells(params.systems[DCLS].model, condition(batch=2)) | {"choices": []}])
    assert [one["choices"] for one in rows.read_choices(path)] == [[{"backend": "torch_contiguous"}], []]
    path.write_text("{}x")
    with pytest.raises(UserError, match=rf"^{path}: no list of convolution choices"):
        rows.read_choices(path)


@pytest.mark.parametrize(("left", "status"), [(2**34, "failed: RuntimeError: could not create"), (2**20, "out of mem")])
def test_onednn_lacks_memory_only_where_there_is_little(
    left: int, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcome, "memory_left", lambda: left)
    assert outcome.reason_of(RuntimeError("could not create a primitive")).startswith(status)


def test_memory_left_is_within_what_the_machine_has() -> None:
    assert 0 < outcome.memory_left() <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
