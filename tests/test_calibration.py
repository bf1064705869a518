"""Calibration against a case that was done by hand, and against one draw of outcomes from the scores themselves."""

from __future__ import annotations

import numpy as np
import pytest

from harness.calibration import BINS, calibration, calibration_error


def test_bins_by_hand() -> None:
    scores = np.array([[0.01, 0.03], [0.04, 0.05], [1.0, 0.97]], np.float32)
    targets = np.array([[0, 1], [0, 0], [1, 0]], np.float32)
    bins = calibration(targets, scores)
    assert [one["low"] for one in bins] == pytest.approx(np.arange(BINS) / BINS) and bins[-1]["high"] == 1.0
    filled = {place: one for place, one in enumerate(bins) if one["count"]}
    assert {place: one["count"] for place, one in filled.items()} == {0: 3, 1: 1, 19: 2}
    assert [one["observed"] for one in filled.values()] == pytest.approx([1 / 3, 0, 1 / 2])
    assert [one["mean_predicted"] for one in filled.values()] == pytest.approx([0.08 / 3, 0.05, 0.985])
    assert all(one["mean_predicted"] == one["observed"] == "" for one in bins if not one["count"])
    by_hand = (3 * (1 / 3 - 0.08 / 3) + 1 * 0.05 + 2 * 0.485) / 6
    assert calibration_error(bins) == pytest.approx(by_hand)


def test_outcomes_drawn_from_the_scores_are_calibrated_and_from_half_of_them_are_not() -> None:
    random = np.random.default_rng(0)
    scores = random.random((5000, 4)).astype(np.float32)
    drawn = random.random(scores.shape)
    assert calibration_error(calibration((drawn < scores).astype(np.float32), scores)) < 0.02
    assert calibration_error(calibration((drawn < scores / 2).astype(np.float32), scores)) == pytest.approx(
        0.25, abs=0.02
    )
