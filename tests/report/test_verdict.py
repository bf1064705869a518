"""The verdict: each outcome of each claim, from result files made for it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.base.errors import UserError
from harness.base.files import write_json
from harness.comparison.paired import compare
from harness.config.params import Params
from harness.config.systems import PAPER
from harness.report.frames import load_frames
from harness.report.tables import tables
from harness.report.verdict import CANNOT, DOES_NOT, SUPPORTS, Claim, verdict
from tests.conftest import MODELS
from tests.report.conftest import BASELINE, DCLS, RESULTS, edit, edit_timings

DCLS_MODELS = tuple(name for name in MODELS if PAPER[name][1])
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
        settings = {"scale": "full", "depths": None, "widths": None}
        record["parameters"]["schedule"]["epochs"] = 60
        pretrained = not record["model"].startswith("fastvit")
        record["parameters"]["model"] |= settings | {"start": "imagenet" if pretrained else "random"}
    if record["kind"] == "training":
        record["start"] = {"source": "timm/a-model", "sha256": "a" * 64}


def _compared(model: str, **values: object) -> None:
    edit(
        RESULTS / "comparison.json",
        lambda one: next(pair for pair in one["pairs"] if pair["model"] == model).update(values),
    )


def _ratio(model: str, ratio: float) -> None:
    edit_timings(lambda row: row.update(ratio_to_baseline=str(ratio)) if row["model"] == model else None)


def _more_parameters() -> None:
    """One parameter more in a DCLS model, in both of the files that count them."""

    def counted(file: dict[str, Any]) -> None:
        file["models"][DCLS]["positions"] += 1
        for one in file["models"][DCLS]["classes"].values():
            one["total"] += 1

    def timed(row: dict[str, str]) -> None:
        if row["model"] == DCLS:
            row |= {name: str(int(row[name]) + 1) for name in ("parameters_527", "parameters_1000")}

    edit(RESULTS / "parameters.json", counted)
    edit_timings(timed)


def _on_a_cpu() -> None:
    edit_timings(lambda row: row.update(gpu=""))


def _of_25_elements(record: dict[str, Any]) -> None:
    if record["parameters"]["model"]["dcls"]:
        record["parameters"]["model"]["dcls"]["kernel_count"] = 25


def _other_kernels() -> None:
    for path in RESULTS.glob("runs/*/training/run.json"):
        edit(path, _of_25_elements)
    edit_timings(lambda row: row.update(kernel_count="25"))


def _reduced() -> None:
    for path in RESULTS.glob("runs/*/training/run.json"):
        edit(path, lambda record: record["parameters"]["model"].update(scale="reduced", depths=[1], widths=[8]))


@pytest.mark.parametrize(
    ("change", "outcomes", "said"),
    [
        (lambda: None, (SUPPORTS, SUPPORTS, SUPPORTS, SUPPORTS), "+2.00 points (published +0.69), 95% interval +1.00"),
        (
            lambda: _compared(DCLS, mean=-0.001, low=-0.01, high=0.01, verdict="not distinguishable"),
            (DOES_NOT, DOES_NOT, SUPPORTS, SUPPORTS),
            "The mean difference is not above 0 in ConvNeXt-T.",
        ),
        (
            lambda: _compared(DCLS, mean=0.001, low=-0.01, high=0.01, verdict="not distinguishable"),
            (SUPPORTS, DOES_NOT, SUPPORTS, SUPPORTS),
            "The 95% interval of the difference is above 0 in ConvFormer-S18, FastViT-SA24 of 3.",
        ),
        (_more_parameters, (SUPPORTS, SUPPORTS, DOES_NOT, SUPPORTS), "There are more in ConvNeXt-T."),
        (
            lambda: _ratio(DCLS, 0.77),
            (SUPPORTS, SUPPORTS, SUPPORTS, DOES_NOT),
            "The ratio is below the 0.77 of the paper's own slowest pair in ConvNeXt-T.",
        ),
        (_on_a_cpu, (SUPPORTS, SUPPORTS, SUPPORTS, CANNOT), "On it the ratio is nowhere below the 0.77"),
        (_reduced, (CANNOT, CANNOT, SUPPORTS, SUPPORTS), "It is not the paper's experiment: reduced models. In this"),
        (
            _other_kernels,
            (CANNOT, CANNOT, CANNOT, CANNOT),
            "The DCLS kernels are not the paper's: 25 elements in 23x23, there 26 in 23x23.",
        ),
    ],
)
def test_outcomes(audioset: Path, report_params: Params, change: Change, outcomes: tuple[str, ...], said: str) -> None:
    change()
    found = verdict(load_frames(report_params))
    assert tuple(claim.outcome for claim in found) == outcomes
    tables(report_params)
    page = Path("paper_tables/instruments/verdict.md").read_text()
    assert said in page
    assert all(f"## {claim.claim}: {claim.outcome}" in page and _bullet(claim) in page for claim in found)


def _bullet(claim: Claim) -> str:
    return f"- **{claim.claim}**: the paper's experiment: this run **{claim.outcome}** it."


def test_one_backbone_is_not_three(audioset: Path, report_params: Params) -> None:
    found = verdict(load_frames(report_params.model_copy(update={"models": (BASELINE, DCLS)})))
    assert {claim.outcome for claim in found} == {CANNOT}
    assert all("Only 1 of the 3 backbones ran with and without DCLS." in claim.reason for claim in found)
    assert {claim.outcome for claim in verdict(load_frames(report_params.model_copy(update={"models": (DCLS,)})))} == {
        CANNOT
    }


def test_one_seed_cannot_tell_whether_it_is_significant(audioset: Path, report_params: Params) -> None:
    params = report_params.model_copy(update={"seeds": (1,), "linear_baseline_seeds": (1,)})
    compare(params)
    pairs = json.loads((RESULTS / "comparison.json").read_text())["pairs"]
    rises, significant, *_ = verdict(load_frames(params))
    assert significant.outcome == CANNOT and "two seeds are needed" in significant.reason
    assert all("95% interval over clips alone" in line and "1 seed" in line for line in significant.numbers)
    assert rises.outcome == (SUPPORTS if all(pair["mean"] > 0 for pair in pairs) else DOES_NOT)


def test_published_weights_are_called_the_authors_own(audioset: Path, report_params: Params) -> None:
    for path in RESULTS.glob("runs/*/training/run.json"):
        edit(path, lambda record: record["parameters"]["model"].update(start="published"))
    rises, *_ = verdict(load_frames(report_params))
    assert rises.outcome == SUPPORTS and rises.reason.endswith("authors' own weights: scored here, not trained here.")


def test_the_default_preset_is_not_the_papers_experiment(workplace: Path, report_params: Params) -> None:
    rises, significant, fewer, cost = verdict(load_frames(report_params))
    assert (rises.outcome, significant.outcome, fewer.outcome, cost.outcome) == (CANNOT, CANNOT, SUPPORTS, CANNOT)
    assert "not AudioSet; reduced models; 8 epochs instead of 60; no ImageNet weights" in rises.reason
    assert "mAP rises in" in rises.reason and len(rises.numbers) == 3


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
