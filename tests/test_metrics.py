"""Metrics against scikit-learn and against cases that can be done by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from harness.scoring import metrics as harness_metrics
from harness.scoring.metrics import (
    bias_corrected,
    bootstrap_map,
    bootstrap_precisions,
    bootstrap_weights,
    d_prime,
    interval,
    summarize,
)


def _scored(clips: int = 200, classes: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    targets = (random.random((clips, classes)) < 0.2).astype(np.float32)
    scores = np.round(random.random((clips, classes)) + 0.3 * targets, 2)  # rounded: many ties
    return targets, scores.astype(np.float32)


def test_bootstrap_is_sklearns_average_precision_under_the_same_weights() -> None:
    targets, scores = _scored()
    ours = bootstrap_map(targets, scores, 20, seed=7)
    weights = np.random.default_rng(7).multinomial(200, np.full(200, 1 / 200), size=20)
    theirs = [
        np.mean([average_precision_score(targets[:, c], scores[:, c], sample_weight=w) for c in range(6)])
        for w in weights
    ]
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_draws_in_blocks_are_the_same_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    targets, scores = _scored()
    weights = bootstrap_weights(200, 20, seed=7)
    whole = bootstrap_precisions(targets, scores, weights)
    monkeypatch.setattr(harness_metrics, "BLOCK", 3 * 200)  # seven blocks, the last one short
    np.testing.assert_array_equal(bootstrap_precisions(targets, scores, weights), whole)


def test_a_draw_without_a_positive_has_no_precision_and_does_not_count() -> None:
    targets = np.array([[1.0], [0.0], [0.0]])
    scores = np.array([[0.2], [0.3], [0.1]])
    drawn = bootstrap_precisions(targets, scores, np.array([[1, 1, 1], [0, 2, 1], [3, 0, 0], [2, 1, 0]], np.float32))
    np.testing.assert_array_equal(drawn, [[1 / 2, np.nan, 1.0, 2 / 3]])
    assert np.isnan(bootstrap_precisions(np.zeros((3, 1)), scores, np.ones((2, 3), np.float32))).all()
    assert bias_corrected(0.5, drawn[0]) == bias_corrected(0.5, drawn[0, [0, 2, 3]])


def test_an_interval_is_shifted_by_the_bias_and_only_that_of_a_metric_stays_within_its_range() -> None:
    drawn = np.linspace(0.5, 0.7, 1001)  # mean 0.6, 95% of it from 0.505 to 0.695
    assert bias_corrected(0.4, drawn) == pytest.approx((0.305, 0.495))
    assert bias_corrected(-0.05, drawn) == pytest.approx((-0.145, 0.045))
    assert interval(0.05, drawn) == (0.0, pytest.approx(0.145))
    assert interval(0.95, drawn) == (pytest.approx(0.855), 1.0)


def test_classes_without_a_positive_are_left_out_and_counted() -> None:
    targets, scores = _scored()
    targets[:, 2] = 0
    metrics, rows = summarize(targets, scores, list("abcdef"), 50)
    assert (metrics["classes"], metrics["classes_left_out"], metrics["clips"]) == (5, 1, 200)
    assert rows[2]["AP"] == "" and rows[2]["positives"] == 0
    expected = np.mean([average_precision_score(targets[:, c], scores[:, c]) for c in (0, 1, 3, 4, 5)])
    assert metrics["mAP"] == pytest.approx(expected, rel=1e-12)
    assert metrics["mAP_low"] < metrics["mAP"] < metrics["mAP_high"]


def test_perfect_scores_give_finite_d_prime() -> None:
    targets, _ = _scored()
    metrics, _ = summarize(targets, targets, list("abcdef"), 10)
    assert metrics["mAP"] == metrics["mean_auc"] == 1.0
    assert math.isfinite(metrics["d_prime_mean_of_classes"]) and metrics["d_prime_mean_of_classes"] > 4
    assert math.isfinite(metrics["d_prime_of_mean_auc"])


def test_d_prime_of_known_areas() -> None:
    assert d_prime(0.5, 100) == pytest.approx(0)
    assert d_prime(0.975, 10**6) == pytest.approx(math.sqrt(2) * 1.959963984540054)
