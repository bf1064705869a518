"""The verdict: each outcome of each claim, from result files made for it."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.base.errors import UserError
from harness.base.files import write_json
from harness.comparison.paired import compare
from harness.config.params import Params
from harness.config.systems import PAPER
from harness.report.decisions import REFUTED, SUPPORTED, UNDECIDED, seeds_to_decide
from harness.report.figures.systems import systems
from harness.report.frames import load_frames
from harness.report.tables import tables
from harness.report.verdict import CANNOT, answer, verdict
from tests.report.conftest import BASELINE, DCLS, RESULTS, edit, edit_timings, is_timing_of, pair_of

DCLS_MODELS = tuple(name for name, (_, baseline) in PAPER.items() if baseline)
Change = Callable[[], object]


@pytest.fixture
def audioset(workplace: Path) -> Iterator[Path]:
    """Results as of the paper's own experiment, timed on a GPU, with every difference told apart from 0."""
    for path in RESULTS.glob("runs/*/*/*.json"):
        if path.name != "metrics.json":
            edit(path, _as_in_the_paper)
    edit_timings(lambda row: row.update(gpu="a GPU"))
    for model in DCLS_MODELS:
        _compared(model, mean=0.02, low=0.01, high=0.03, verdict="higher")
        _ratio(model, 0.9)
    yield workplace


def _as_in_the_paper(record: dict[str, Any]) -> None:
    record["parameters"]["data"]["kind"] = "audioset"
    if "model" in record["parameters"]:
        record["parameters"]["schedule"]["epochs"] = 60
        if record["parameters"]["model"]["dcls"]:
            record["parameters"]["model"]["dcls"] |= {"position_std": 0.5, "position_rate": 5.0}
        settings = {"scale": "full", "depths": None, "widths": None}
        pretrained = not record["model"].startswith("fastvit")
        record["parameters"]["model"] |= settings | {"start": "imagenet" if pretrained else "random"}
    if record["kind"] == "training":
        record["start"] = {"source": "timm/a-model", "sha256": "a" * 64}


def _compared(model: str, **values: object) -> None:
    edit(RESULTS / "comparison.json", lambda one: pair_of(one, model).update(values))


def _ratio(model: str, ratio: float) -> None:
    edit_timings(lambda row: row.update(ratio_to_baseline=str(ratio)) if is_timing_of(row, model) else None)


def _more_parameters() -> None:
    """One parameter more in a DCLS model, in both of the files that count them."""

    def counted(file: dict[str, Any]) -> None:
        file["models"][DCLS]["positions"] += 1
        for one in file["models"][DCLS]["classes"].values():
            one["total"] += 1

    def timed(row: dict[str, str]) -> None:
        if is_timing_of(row, DCLS):
            row |= {name: str(int(row[name]) + 1) for name in ("parameters_527", "parameters_1000")}

    edit(RESULTS / "parameters.json", counted)
    edit_timings(timed)


def _on_a_cpu() -> None:
    edit_timings(lambda row: row.update(gpu=""))


def _other_kernels() -> None:
    for path in RESULTS.glob("runs/*dcls*/training/run.json"):
        edit(path, lambda record: record["parameters"]["model"]["dcls"].update(kernel_count=25))


def _reduced() -> None:
    for path in RESULTS.glob("runs/*/training/run.json"):
        edit(path, lambda record: record["parameters"]["model"].update(scale="reduced", depths=[1], widths=[8]))


LOWER = {"mean": -0.02, "low": -0.03, "high": -0.01, "verdict": "lower"}
NEITHER = {"mean": 0.001, "low": -0.01, "high": 0.01, "verdict": "not distinguishable"}


@pytest.mark.parametrize(
    ("change", "outcomes", "said"),
    [
        (lambda: None, (SUPPORTED, SUPPORTED, SUPPORTED), "+2.00 points (published +0.69), 95% interval +1.00"),
        (
            lambda: _compared(DCLS, **LOWER),
            (REFUTED, SUPPORTED, SUPPORTED),
            "It is supported for ConvFormer-S18 and FastViT-SA24 and refuted for ConvNeXt-T.",
        ),
        (
            lambda: _compared(DCLS, **NEITHER),
            (UNDECIDED, SUPPORTED, SUPPORTED),
            "It is supported for ConvFormer-S18 and FastViT-SA24 and undecided for ConvNeXt-T.",
        ),
        (_more_parameters, (SUPPORTED, REFUTED, SUPPORTED), "There are more in ConvNeXt-T."),
        (
            lambda: _ratio(DCLS, 0.77),
            (SUPPORTED, SUPPORTED, REFUTED),
            "The ratio is below the 0.77 of the paper's own slowest pair in ConvNeXt-T.",
        ),
        (_on_a_cpu, (SUPPORTED, SUPPORTED, CANNOT), "supported**. The ratio is nowhere below the 0.77"),
        (_reduced, (CANNOT, SUPPORTED, SUPPORTED), "This is not it: reduced models."),
        (
            _other_kernels,
            (SUPPORTED, CANNOT, CANNOT),
            "The DCLS kernels are not the paper's: 25 elements in 23x23, there 26 in 23x23.",
        ),
    ],
)
def test_outcomes(audioset: Path, report_params: Params, change: Change, outcomes: tuple[str, ...], said: str) -> None:
    change()
    found = verdict(load_frames(report_params))
    assert tuple(claim.paper.word for claim in found) == outcomes
    tables(report_params)
    page = Path("paper_tables/instruments/verdict.md").read_text()
    assert said in page
    for claim in found:
        assert f"- The paper's experiment: **{claim.paper.word}**. {claim.paper.reason}" in page
        assert f"## {claim.claim}\n\n- {'This run' if claim.small else 'The paper'}" in page


def test_one_backbone_is_not_three(audioset: Path, report_params: Params) -> None:
    found = verdict(load_frames(report_params.model_copy(update={"models": (BASELINE, DCLS)})))
    assert {claim.paper.word for claim in found} == {CANNOT}
    assert all("Only 1 of the 3 backbones" in claim.paper.reason for claim in found)
    small = found[0].small
    assert small and small.word == SUPPORTED and small.reason == "It is supported for ConvNeXt-T."
    alone = load_frames(report_params.model_copy(update={"models": (DCLS,)}))
    assert {claim.paper.word for claim in verdict(alone)} == {CANNOT}
    assert answer(alone, verdict(alone)) == "No DCLS system of instruments has a fair pair with its baseline."


def test_one_seed_decides_nothing(audioset: Path, report_params: Params) -> None:
    params = report_params.model_copy(update={"seeds": (1,), "linear_baseline_seeds": (1,)})
    compare(params)
    rises, *_ = verdict(load_frames(params))
    assert rises.paper.word == UNDECIDED
    assert all("95% interval over clips alone" in line and "1 seed: undecided" in line for line in rises.numbers)


def test_the_default_preset_is_not_the_papers_experiment(workplace: Path, report_params: Params) -> None:
    frames = load_frames(report_params)
    rises, fewer, cost = verdict(frames)
    assert (rises.paper.word, fewer.paper.word, cost.paper.word) == (CANNOT, SUPPORTED, CANNOT)
    assert "not AudioSet; reduced models; 8 epochs instead of 60; no ImageNet weights" in rises.paper.reason
    assert "deviation 4 and rate 20 instead of 0.5 and 5" in rises.paper.reason
    assert rises.small and rises.small.word in (UNDECIDED, SUPPORTED, REFUTED) and len(rises.numbers) == 3
    assert cost.small and cost.small.word == REFUTED and fewer.small is None
    assert answer(frames, verdict(frames)).startswith("In this small experiment, ")
    assert " DCLS beats the baseline" in answer(frames, verdict(frames))


@pytest.mark.parametrize(
    ("mean", "sd", "clips", "needed"),
    [
        (0.02, 0.02, 0.0, 7),  # t(6) 2.447 / sqrt 7 = 0.925; with 6 seeds 2.571 / sqrt 6 = 1.05
        (-0.02, 0.02, 0.0, 7),
        (0.02, 0.02, 0.012, 9),  # 0.016 is left of the arm: t(8) 2.306 / 3 = 0.769 of 0.02
        (0.02, 0.02, 0.02, None),
        (0.0001, 0.02, 0.0, None),
        (0.0, 0.02, 0.0, None),
    ],
)
def test_seeds_that_would_decide(mean: float, sd: float, clips: float, needed: int | None) -> None:
    pair = SimpleNamespace(mean=mean, sd=sd, n=3, clips_low=mean - clips, clips_high=mean + clips)
    assert seeds_to_decide(pair) == needed


def test_an_unfair_pair_is_named_and_says_nothing(audioset: Path, report_params: Params) -> None:
    """Trained for one epoch against eight, by the comparison's own rule."""
    for seed in report_params.seeds:
        edit(
            RESULTS / f"runs/{DCLS}-{seed}/training/run.json",
            lambda one: one["parameters"]["schedule"].update(epochs=1),
        )
    compare(report_params)
    frames = load_frames(report_params)
    rises, *_ = verdict(frames)
    assert rises.numbers[-1] == "ConvNeXt-T: not a fair pair: epochs 60 and 1"
    assert dict(rises.by_backbone).keys() == {"ConvFormer-S18", "FastViT-SA24"} and rises.paper.word == CANNOT
    tables(report_params)
    folder = Path("paper_tables/instruments")
    for name in ("table1.md", "comparisons.md", "table1.txt"):
        (line,) = [one for one in (folder / name).read_text().splitlines() if "not a fair pair" in one]
        assert "epochs 60 and 1" in line
    with open(folder / "table1.csv", newline="") as file:
        (row,) = [row for row in csv.DictReader(file) if row["model"] == DCLS]
    assert row["map_difference_mean"] == "" and "ConvNeXt-T" not in (folder / "answer.txt").read_text()
    assert f"{DCLS}_difference" not in (folder / "per_class.csv").read_text()
    assert DCLS not in json.loads((RESULTS / "summary.json").read_text())["mAP_points_minus_baseline"]
    figure = systems(frames)
    assert any("not a fair pair:\nepochs 60 and 1" in text.get_text() for axes in figure.axes for text in axes.texts)


def test_counts_that_do_not_fit_are_refused(workplace: Path, report_params: Params) -> None:
    path = RESULTS / "parameters.json"
    whole = json.loads(path.read_text())
    for change, message in (
        (lambda one: one["models"].pop(DCLS), f"no '{DCLS}' in it; run `count-parameters`"),
        (
            lambda one: one["models"][DCLS].pop("features"),
            f"no 'models.{DCLS}.features' in it; another version wrote it, run its stage again$",
        ),
        (
            lambda one: one["models"][DCLS].update(positions=7),
            f"{DCLS} with 527 classes: .* parameters in all, .* in its parts, .*run `count-parameters`",
        ),
    ):
        write_json(path, whole)
        edit(path, change)
        with pytest.raises(UserError, match=rf"^results/instruments/parameters.json: {message}"):
            tables(report_params)
