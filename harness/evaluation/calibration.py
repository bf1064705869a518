"""Are scores probabilities? Bins of the scores of all clips and classes, and how often those are right."""

from __future__ import annotations

from typing import Any

import numpy as np

# of the bins: narrow where most scores of many rare classes lie
EDGES = (0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.07, 0.1, 0.15, *(n / 10 for n in range(2, 11)))


def calibration(targets: np.ndarray, scores: np.ndarray) -> list[dict[str, Any]]:
    """A row a bin, lowest first: its edges, pairs of clip and class in it, their mean score, the share of positives.

    Targets of 0 and 1 and scores in [0, 1], (clips, classes). A bin takes in its lower edge, the last one both. The
    last two are empty where the bin is.
    """
    edges = np.array(EDGES)
    sums = np.zeros((3, len(edges) - 1))
    for column in range(scores.shape[1]):
        score, target = scores[:, column].astype(np.float64), targets[:, column]
        places = np.clip(np.searchsorted(edges, score, side="right") - 1, 0, len(edges) - 2)
        for row, weights in zip(sums, (None, score, target), strict=True):
            row += np.bincount(places, weights, minlength=len(edges) - 1)
    return [
        {
            "low": low,
            "high": high,
            "count": int(count),
            "mean_predicted": float(predicted / count) if count else "",
            "observed": float(positives / count) if count else "",
        }
        for low, high, (count, predicted, positives) in zip(EDGES[:-1], EDGES[1:], sums.T, strict=True)
    ]


def calibration_error(bins: list[dict[str, Any]]) -> float:
    """Expected calibration error: mean over pairs of clip and class of |mean score - share of positives| of the bin."""
    total = sum(each["count"] for each in bins)
    return sum(each["count"] * abs(each["mean_predicted"] - each["observed"]) for each in bins if each["count"]) / total
