"""Calibration against a case that was done by hand, and against one draw of outcomes from the scores themselves."""

from __future__ import annotations

import numpy as np
import pytest

from harness.evaluation.calibration import EDGES, calibration, calibration_error


def test_bins_by_hand() -> None:
    scores = np.array([[0.012, 0.017], [0.018, 0.25], [1.0, 0.97]], np.float64)
    targets = np.array([[0, 1], [0, 0], [1, 0]], np.float32)
    bins = calibration(targets, scores)
    assert (*(one["low"] for one in bins), bins[-1]["high"]) == EDGES and (EDGES[0], EDGES[-1]) == (0, 1)
    filled = [one for one in bins if one["count"]]
    assert [(one["low"], one["high"], one["count"]) for one in filled] == [
        (0.01, 0.02, 3),
        (0.2, 0.3, 1),
        (0.9, 1.0, 2),
    ]
    assert [one["observed"] for one in filled] == pytest.approx([1 / 3, 0, 1 / 2])
    assert [one["mean_predicted"] for one in filled] == pytest.approx([0.047 / 3, 0.25, 0.985])
    assert all(one["mean_predicted"] == one["observed"] == "" for one in bins if not one["count"])
    assert calibration_error(bins) == pytest.approx((3 * (1 / 3 - 0.047 / 3) + 1 * 0.25 + 2 * 0.485) / 6)


def test_outcomes_drawn_from_the_scores_are_calibrated_and_from_half_of_them_are_not() -> None:
    random = np.random.default_rng(0)
    scores = random.random((5000, 4)).astype(np.float32)
    drawn = random.random(scores.shape)
    assert calibration_error(calibration((drawn < scores).astype(np.float32), scores)) < 0.02
    assert calibration_error(calibration((drawn < scores / 2).astype(np.float32), scores)) == pytest.approx(
        0.25, abs=0.02
    )
