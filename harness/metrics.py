"""mAP, AUC and d' of multi-label scores, with a bootstrap interval over clips."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

import numpy as np

QUANTILES = (0.025, 0.975)


def mean_average_precision(targets: np.ndarray, scores: np.ndarray) -> float:
    """Mean over the classes with a positive of the average precision; targets, scores (clips, classes)."""
    present = targets.sum(0) > 0
    return float(np.mean(average_precisions(targets[:, present], scores[:, present])))


def average_precisions(targets: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """scikit-learn's average precision of each class, float64 (classes,); every class must have a positive."""
    from sklearn.metrics import average_precision_score  # a second to import

    return np.array([average_precision_score(targets[:, c], scores[:, c]) for c in range(targets.shape[1])])


def areas_under_roc(targets: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """scikit-learn's AUC of each class, float64 (classes,); every class must have a positive and a negative."""
    from sklearn.metrics import roc_auc_score

    return np.array([roc_auc_score(targets[:, c], scores[:, c]) for c in range(targets.shape[1])])


def d_prime(auc: float, pairs: float) -> float:
    """sqrt(2) times the normal quantile of the AUC.

    An AUC of 0 or 1 would give infinity; it counts as half a misordered pair among `pairs` (positive x negative).
    """
    edge = 0.5 / pairs
    return math.sqrt(2) * NormalDist().inv_cdf(min(max(auc, edge), 1 - edge))


def bootstrap_map(targets: np.ndarray, scores: np.ndarray, resamples: int, seed: int = 0) -> np.ndarray:
    """mAP of `resamples` draws of the clips with replacement, float64 (resamples,).

    scikit-learn's average precision with the draws as sample weights, for all draws at once (tested against it): one
    sort a class instead of one a draw. A class that a draw leaves without a positive is left out of that draw's mean.
    """
    clips = targets.shape[0]
    random = np.random.default_rng(seed)
    weights = random.multinomial(clips, np.full(clips, 1 / clips), size=resamples).astype(np.float64)
    precisions = np.stack([_weighted_precision(targets[:, c], scores[:, c], weights) for c in range(targets.shape[1])])
    return np.nanmean(precisions, axis=0)


def _weighted_precision(target: np.ndarray, score: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Average precision of one class under each row of weights (resamples, clips); NaN without a positive."""
    order = np.argsort(-score, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(score[order]) != 0, True))  # clips of equal score are one threshold
    true = np.cumsum(weights[:, order] * target[order], axis=1)[:, ends]
    every = np.cumsum(weights[:, order], axis=1)[:, ends]
    gained = np.diff(true, axis=1, prepend=0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.nansum(gained * true / every, axis=1) / np.where(true[:, -1] > 0, true[:, -1], np.nan)


def interval(value: float, resampled: np.ndarray) -> tuple[float, float]:
    """95% interval of `value` from its bootstrap: the quantiles, less the bootstrap's bias, within [0, 1].

    The bias is not small: clips drawn twice raise the average precision of a small test set.
    """
    low, high = np.quantile(resampled, QUANTILES) - (resampled.mean() - value)
    return max(0.0, float(low)), min(1.0, float(high))


def summarize(
    targets: np.ndarray, scores: np.ndarray, labels: list[str], resamples: int
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The metrics, and one row a class (label, positives, clips, AP, AUC; empty where a class has no positive).

    mAP in [0, 1]. `d_prime_mean_of_classes` is the published code's d'; `d_prime_of_mean_auc` is that of PANNs and AST.
    """
    clips = targets.shape[0]
    positives = targets.sum(0).astype(int)
    used = np.flatnonzero((positives > 0) & (positives < clips))
    precisions = average_precisions(targets[:, used], scores[:, used])
    areas = areas_under_roc(targets[:, used], scores[:, used])
    pairs = positives[used] * (clips - positives[used])
    low, high = interval(float(precisions.mean()), bootstrap_map(targets[:, used], scores[:, used], resamples))
    metrics = {
        "mAP": float(precisions.mean()),
        "mAP_low": low,
        "mAP_high": high,
        "mean_auc": float(areas.mean()),
        "d_prime_of_mean_auc": d_prime(float(areas.mean()), float(pairs.sum())),
        "d_prime_mean_of_classes": float(np.mean([d_prime(a, n) for a, n in zip(areas, pairs, strict=True)])),
        "prevalence": float(positives[used].mean() / clips),
        "clips": clips,
        "classes": len(used),
        "classes_left_out": len(labels) - len(used),
    }
    rows = [
        {"label": label, "positives": int(n), "clips": clips, "AP": "", "AUC": ""}
        for label, n in zip(labels, positives, strict=True)
    ]
    for index, precision, area in zip(used, precisions, areas, strict=True):
        rows[index] |= {"AP": float(precision), "AUC": float(area)}
    return metrics, rows
