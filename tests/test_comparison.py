"""The comparison of DCLS with its baseline, against scikit-learn, scipy and cases with a known answer."""

from __future__ import annotations

import copy
import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import t
from sklearn.metrics import average_precision_score

from harness.base import paths
from harness.base.errors import UserError
from harness.base.files import write_json
from harness.comparison.paired import FEWEST_POSITIVES, compare, conclusion
from harness.config.params import Params
from harness.scoring.metrics import bootstrap_weights, summarize
from tests.conftest import ROOT

DCLS, BASELINE = "convnext_dcls_audio_tiny", "convnext_audio_tiny"
CLIPS, CLASSES, RESAMPLES = 80, 3, 20
RESULTS = paths.results("instruments")


# as committed runs have them
TRAINED = {
    model: json.loads((ROOT / paths.training_results("instruments", model, 0) / "run.json").read_text())
    for model in (BASELINE, DCLS)
}


@pytest.fixture
def settings(params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    """One pair, three seeds, few draws; its files lie in the current folder."""
    monkeypatch.chdir(tmp_path)
    evaluation = params.evaluate.model_copy(update={"bootstrap": RESAMPLES})
    return params.model_copy(update={"models": (DCLS, BASELINE), "seeds": (0, 1, 2), "evaluate": evaluation})


def _targets(seed: int = 0, clips: int = CLIPS) -> np.ndarray:
    targets = (np.random.default_rng(seed).random((clips, CLASSES)) < 0.25).astype(np.float32)
    targets[:2] = [[1.0], [0.0]]
    return targets


def _write(model: str, seed: int, targets: np.ndarray, scores: np.ndarray, **other: Any) -> Path:
    path = paths.predictions("instruments", model, seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"ids": np.array([f"clip {n}" for n in range(len(targets))]), "labels": np.array(list("abc")), **other}
    np.savez(path, targets=targets, scores=scores.astype(np.float32), **content)
    write_json(paths.evaluation_results("instruments", model, seed) / "evaluation.json", {"data_fingerprint": "d" * 64})
    write_json(paths.training_results("instruments", model, seed) / "run.json", TRAINED[model])
    return path


def _write_pairs(gain: float, seeds: int = 3, start: int = 0, seed_noise: float = 0.0) -> None:
    """Scores of made-up models that tell positives apart by 0.5, and the DCLS ones by `gain` more."""
    random = np.random.default_rng(start)
    targets = _targets(start)
    for seed in range(seeds):
        for model, skill in ((BASELINE, 0.5), (DCLS, 0.5 + gain)):
            skill += seed_noise * random.standard_normal()
            _write(model, seed, targets, skill * targets + random.standard_normal(targets.shape))


def _compared() -> dict[str, Any]:
    return json.loads((RESULTS / "comparison.json").read_text())["pairs"][0]


def _rows() -> list[dict[str, str]]:
    with open(RESULTS / "per_class_difference.csv", newline="") as file:
        return list(csv.DictReader(file))


def _precisions(model: str, seed: int, weights: np.ndarray | None = None) -> np.ndarray:
    """scikit-learn's, of each class."""
    with np.load(paths.predictions("instruments", model, seed)) as file:
        targets, scores = file["targets"], file["scores"]
    return np.array(
        [average_precision_score(targets[:, c], scores[:, c], sample_weight=weights) for c in range(CLASSES)]
    )


def _drawn(seed: int, stream: int, clips: int) -> np.ndarray:
    """DCLS minus baseline (draws, classes) under the same draws, one scikit-learn call each."""
    weights = bootstrap_weights(clips, RESAMPLES, stream)
    return np.array([_precisions(DCLS, seed, one) - _precisions(BASELINE, seed, one) for one in weights])


def _corrected(value: float, drawn: np.ndarray) -> np.ndarray:
    return np.quantile(drawn, [0.025, 0.975]) - drawn.mean() + value


def test_difference_is_paired_by_seed_and_clip_and_its_interval_is_the_rule(settings: Params) -> None:
    _write_pairs(0.5)
    compare(settings)
    found = _compared()
    paired = np.array([(_precisions(DCLS, seed) - _precisions(BASELINE, seed)).mean() for seed in range(3)])
    np.testing.assert_allclose(list(found["differences"].values()), paired, rtol=1e-9)
    assert list(found["differences"]) == ["0", "1", "2"]
    assert (found["n"], found["clips"], found["test_sets"]) == (3, CLIPS, 1)
    assert found["mean"] == pytest.approx(paired.mean()) and found["sd"] == pytest.approx(paired.std(ddof=1))

    drawn = np.mean([_drawn(seed, 0, CLIPS) for seed in range(3)], axis=0)  # one set of draws for all seeds
    low, high = _corrected(paired.mean(), drawn.mean(axis=1))
    assert (found["clips_low"], found["clips_high"]) == pytest.approx((low, high), rel=1e-9)
    over_seeds = t.ppf(0.975, 2) * paired.std(ddof=1) / np.sqrt(3)
    assert found["low"] == pytest.approx(paired.mean() - np.hypot(over_seeds, paired.mean() - low), rel=1e-9)
    assert found["high"] == pytest.approx(paired.mean() + np.hypot(over_seeds, high - paired.mean()), rel=1e-9)

    for column, row in enumerate(_rows()):
        each = [_precisions(model, seed)[column] for model in (BASELINE, DCLS) for seed in range(3)]
        assert float(row["AP_baseline"]) == pytest.approx(np.mean(each[:3]))
        assert float(row["AP"]) == pytest.approx(np.mean(each[3:]))
        low, high = _corrected(float(row["difference"]), drawn[:, column])
        assert (float(row["low"]), float(row["high"])) == pytest.approx((low, high), rel=1e-9)


def test_folds_are_drawn_each_on_their_own(settings: Params) -> None:
    random = np.random.default_rng(5)
    sizes = (CLIPS, CLIPS - 10)
    for seed, clips in enumerate(sizes):
        targets = _targets(seed, clips)
        ids = np.array([f"fold {seed}, clip {n}" for n in range(clips)])
        for model in (BASELINE, DCLS):
            _write(model, seed, targets, targets + random.standard_normal(targets.shape), ids=ids)
    compare(settings.model_copy(update={"seeds": (0, 1)}))
    found = _compared()
    assert (found["clips"], found["test_sets"]) == (sum(sizes), 2)
    drawn = np.mean([_drawn(seed, seed, clips) for seed, clips in enumerate(sizes)], axis=0)
    low, high = _corrected(found["mean"], drawn.mean(axis=1))
    assert (found["clips_low"], found["clips_high"]) == pytest.approx((low, high), rel=1e-9)
    positives = sum(_targets(seed, clips).sum(axis=0) for seed, clips in enumerate(sizes))
    assert [int(row["positives"]) for row in _rows()] == positives.tolist()


def test_what_is_common_to_both_models_cancels(settings: Params) -> None:
    """The interval of near-equal models is far narrower than that of either."""
    random, targets = np.random.default_rng(3), _targets()
    for seed in range(3):
        scores = targets + random.standard_normal(targets.shape)
        _write(BASELINE, seed, targets, scores)
        _write(DCLS, seed, targets, scores + 0.01 * random.standard_normal(targets.shape))
    compare(settings)
    found, (metrics, _) = _compared(), summarize(targets, scores, list("abc"), RESAMPLES)
    assert 0 < found["high"] - found["low"] < 0.2 * (metrics["mAP_high"] - metrics["mAP_low"])


def test_equal_models_are_not_distinguishable(settings: Params) -> None:
    targets = _targets()
    scores = targets + np.random.default_rng(3).standard_normal(targets.shape)
    for seed in range(3):
        for model in (BASELINE, DCLS):
            _write(model, seed, targets, scores)
    compare(settings)
    found = _compared()
    assert found["low"] == found["mean"] == found["high"] == 0.0
    assert found["verdict"] == found["verdict_for_these_weights"] == "not distinguishable"


@pytest.mark.parametrize(
    ("differences", "clips", "said", "of_these_weights"),
    [
        ([0.10, 0.11, 0.12], (0.08, 0.14), "higher", "higher"),
        ([-0.10, -0.11, -0.12], (-0.14, -0.08), "lower", "lower"),
        ([0.10, 0.11, 0.12], (-0.01, 0.23), "not distinguishable", "not distinguishable"),  # few test clips
        ([0.02, 0.10, 0.21], (0.08, 0.14), "not distinguishable", "higher"),  # seeds differ
        ([0.05, 0.08], (0.06, 0.07), "not distinguishable", "higher"),  # two seeds weigh little
        ([0.80], (0.70, 0.90), "not distinguishable", "higher"),  # one seed says nothing of the next
        ([0.04, 0.05, 0.06], (0.01, 0.09), "higher", "higher"),
        ([0.04, 0.05, 0.06], (0.004, 0.096), "not distinguishable", "higher"),  # each leaves out 0, both do not
        ([0.0, 0.0], (0.0, 0.0), "not distinguishable", "not distinguishable"),
    ],
)
def test_verdicts_say_no_more_than_the_data_hold(
    differences: list[float], clips: tuple[float, float], said: str, of_these_weights: str
) -> None:
    found = conclusion(differences, clips)
    assert (found["verdict"], found["verdict_for_these_weights"]) == (said, of_these_weights)
    assert found["n"] == len(differences) and (found["low"] is None) == (len(differences) == 1)


def test_few_false_verdicts_where_nothing_differs_and_few_misses_where_much_does(
    settings: Params, capsys: pytest.CaptureFixture[str]
) -> None:
    """60 experiments on new clips each; the seeds of a model differ by chance too."""
    said = {}
    for gain in (0.0, 1.5):
        verdicts = []
        for experiment in range(60):
            _write_pairs(gain, start=experiment, seed_noise=0.1)
            compare(settings)
            verdicts.append(_compared()["verdict"])
        said[gain] = verdicts
    assert said[0.0].count("not distinguishable") >= 57  # 95%
    assert said[1.5].count("higher") >= 57 and "lower" not in said[1.5]


def test_it_is_the_difference_of_the_metrics(settings: Params) -> None:
    """To the last bit, with a class that has no positive and one without a negative left out."""
    targets = _targets(9)
    targets[:, 1], random = 0.0, np.random.default_rng(2)
    maps = []
    for model in (BASELINE, DCLS):
        scores = (targets + random.standard_normal(targets.shape)).astype(np.float32)
        _write(model, 0, targets, scores)
        maps.append(summarize(targets, scores, list("abc"), RESAMPLES)[0]["mAP"])
    compare(settings.model_copy(update={"seeds": (0,)}))
    found, rows = _compared(), _rows()
    assert found["differences"]["0"] == maps[1] - maps[0]
    assert found["sd"] is found["low"] is found["high"] is None
    assert [row["label"] for row in rows] == ["a", "b", "c"]
    assert rows[1]["positives"] == "0" and rows[1]["difference"] == rows[1]["low"] == "" != rows[0]["low"]


def test_a_class_of_few_positives_has_no_interval(settings: Params) -> None:
    targets = _targets()
    for column, count in ((0, FEWEST_POSITIVES - 1), (1, FEWEST_POSITIVES)):
        targets[:, column] = np.arange(CLIPS) < count
    for model in (BASELINE, DCLS):
        _write(model, 0, targets, targets + np.random.default_rng(len(model)).standard_normal(targets.shape))
    compare(settings.model_copy(update={"seeds": (0,)}))
    few, enough, _ = _rows()
    assert few["difference"] and few["low"] == few["high"] == ""
    assert float(enough["low"]) < float(enough["difference"]) < float(enough["high"])


def test_the_same_predictions_give_the_same_bytes(settings: Params) -> None:
    _write_pairs(0.3)
    files = [RESULTS / "comparison.json", RESULTS / "per_class_difference.csv"]
    compare(settings)
    first = [path.read_bytes() for path in files]
    compare(settings)
    assert first == [path.read_bytes() for path in files]
    record = json.loads((RESULTS / "comparison.run.json").read_text())
    assert record["kind"] == "comparison" and record["data_fingerprint"] == "d" * 64
    assert "mirror" not in record["parameters"]["data"]


@pytest.mark.parametrize(
    ("key", "here", "there", "said"),
    [
        ("parameters.schedule.epochs", 1, 9, "epochs 1 and 9"),
        ("parameters.schedule.learning_rate", 1e-3, 4e-3, "learning_rate 0.001 and 0.004"),
        ("parameters.train.batch", 8, 32, "batch 8 and 32"),
        ("parameters.model.scale", "full", "reduced", "scale full and reduced"),
        ("parameters.model.start", "imagenet", "random", "start imagenet and random"),
        ("parameters.data.clip_seconds", 1.28, 5.0, "clip_seconds 1.28 and 5.0"),
        ("data_fingerprint", "a", "b", "data fingerprint a and b"),
        ("precision", "bf16", "float32", "precision bf16 and float32"),
        ("device", "Abacus", "NVIDIA H200", "device Abacus and NVIDIA H200"),
        ("parameters.model.kernel_size", 23, 7, ""),  # what they are compared for
    ],
)
def test_what_differs_but_in_the_convolution_is_no_fair_pair(
    settings: Params, capsys: pytest.CaptureFixture[str], key: str, here: Any, there: Any, said: str
) -> None:
    _write_pairs(0.5)
    for model, value in ((BASELINE, here), (DCLS, there)):
        record = section = copy.deepcopy(TRAINED[model])
        *sections, last = key.split(".")
        for name in sections:
            section = section[name]
        section[last] = value
        write_json(paths.training_results("instruments", model, 0) / "run.json", record)
    compare(settings)
    found = _compared()
    assert found["unfair"] == said
    if said:
        assert found["verdict"] == found["verdict_for_these_weights"] == "not a fair pair"
        assert capsys.readouterr().out.endswith(f"against {BASELINE}, not a fair pair: {said}\n")
    else:
        assert found["verdict"] == "higher"


def test_nothing_to_compare(settings: Params) -> None:
    _write_pairs(0.3)
    compare(settings.model_copy(update={"models": (DCLS,)}))
    assert json.loads((RESULTS / "comparison.json").read_text())["pairs"] == []
    assert _rows() == []


@pytest.mark.parametrize("name", ["ids", "targets", "labels"])
def test_models_scored_on_different_clips_are_refused(settings: Params, name: str) -> None:
    _write_pairs(0.3)
    targets = _targets()
    other = {"ids": np.array([str(n) for n in range(CLIPS)]), "labels": np.array(list("acb")), "targets": 1 - targets}
    path = _write(DCLS, 1, **({"targets": targets, "scores": targets} | {name: other[name]}))
    message = (
        f"^{re.escape(str(path))}: its {name} differ from those of .*{BASELINE}-1.npz; run `evaluate` of both again$"
    )
    with pytest.raises(UserError, match=message):
        compare(settings)
    assert not RESULTS.joinpath("comparison.json").exists()


def test_seeds_scored_on_different_targets_of_the_same_clips_are_refused(settings: Params) -> None:
    _write_pairs(0.3)
    targets = 1 - _targets()
    for model in (BASELINE, DCLS):
        _write(model, 2, targets, targets)
    with pytest.raises(UserError, match=rf"{BASELINE}-2.npz: its targets differ from those of .*{BASELINE}-0.npz"):
        compare(settings)


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "missing; run `evaluate`"), (b"half a file", "cannot be read"), (b"", "cannot be read")],
)
def test_predictions_that_cannot_be_read_are_named(settings: Params, content: bytes | None, said: str) -> None:
    _write_pairs(0.3)
    path = paths.predictions("instruments", DCLS, 2)
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=f"^{re.escape(str(path))}: {said}") as caught:
        compare(settings)
    assert "\n" not in str(caught.value)
