"""Metrics against scikit-learn and against cases that can be done by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from harness.metrics import bootstrap_map, d_prime, summarize


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
