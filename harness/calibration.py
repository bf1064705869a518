"""Are scores probabilities? Bins of the scores of all clips and classes, and how often those are right."""

from __future__ import annotations

from typing import Any

import numpy as np

BINS = 20  # of equal width, over 0 to 1
CALIBRATION = ("low", "high", "count", "mean_predicted", "observed")


def calibration(targets: np.ndarray, scores: np.ndarray) -> list[dict[str, Any]]:
    """A row a bin, lowest first: its edges, pairs of clip and class in it, their mean score, the share of positives.

    Targets of 0 and 1 and scores in [0, 1], (clips, classes). A bin takes in its lower edge, the last one both. The
    last two are empty where the bin is.
    """
    sums = np.zeros((3, BINS))
    for column in range(scores.shape[1]):
        score, target = scores[:, column].astype(np.float64), targets[:, column]
        places = np.clip((score * BINS).astype(int), 0, BINS - 1)
        for row, weights in zip(sums, (None, score, target), strict=True):
            row += np.bincount(places, weights, minlength=BINS)
    return [
        {
            "low": place / BINS,
            "high": (place + 1) / BINS,
            "count": int(count),
            "mean_predicted": float(predicted / count) if count else "",
            "observed": float(positives / count) if count else "",
        }
        for place, (count, predicted, positives) in enumerate(sums.T)
    ]


def calibration_error(bins: list[dict[str, Any]]) -> float:
    """Expected calibration error: mean over pairs of clip and class of |mean score - share of positives| of the bin."""
    total = sum(each["count"] for each in bins)
    return sum(each["count"] * abs(each["mean_predicted"] - each["observed"]) for each in bins if each["count"]) / total
