"""mAP, AUC and d' of multi-label scores, with a bootstrap interval over clips."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

import numpy as np

QUANTILES = (0.025, 0.975)
BLOCK = 1_000_000  # weights gathered at a time: what fits in a cache


def mean_average_precision(targets: np.ndarray, scores: np.ndarray) -> float:
    """Mean over the classes with a positive of the average precision; targets, scores (clips, classes).

    Without scikit-learn, whose import would take two seconds of every training run.
    """
    return float(np.nanmean(bootstrap_precisions(targets, scores, np.ones((1, len(targets)), np.float32))))


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

    A class that a draw leaves without a positive is left out of that draw's mean.
    """
    weights = bootstrap_weights(len(targets), resamples, seed)
    return np.nanmean(bootstrap_precisions(targets, scores, weights), axis=0)


def bootstrap_weights(clips: int, resamples: int, seed: int = 0) -> np.ndarray:
    """How often each draw takes each clip: float32 (resamples, clips) of whole numbers, each row's sum is `clips`."""
    random, each = np.random.default_rng(seed), np.full(clips, 1 / clips)
    weights = np.empty((resamples, clips), np.float32)
    for row in weights:
        row[:] = random.multinomial(clips, each)
    return weights


def bootstrap_precisions(targets: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Average precision of each class under each row of `weights`: float64 (classes, resamples).

    scikit-learn's average precision with the draws as sample weights, for all draws at once (tested against it); NaN
    where a draw leaves the class no positive. The same weights for two models give paired draws. 1000 draws of
    20,000 clips x 527 classes take some 25 s on one core, and 80 MB for the weights.
    """
    return np.stack([_weighted_precision(targets[:, c], scores[:, c], weights) for c in range(targets.shape[1])])


def _weighted_precision(target: np.ndarray, score: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Average precision of one class under each row of weights (resamples, clips); NaN without a positive.

    Recall grows only at thresholds that a positive reaches, so clips are summed up between those; the sums are whole
    numbers, exact in float32 up to 16 million clips.
    """
    order = np.argsort(-score, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(score[order]) != 0, True))  # clips of equal score are one threshold
    hits = np.flatnonzero(target[order])
    if not len(hits):
        return np.full(len(weights), np.nan)
    reached, first = np.unique(ends[np.searchsorted(ends, hits)], return_index=True)
    starts = np.append(0, reached[:-1] + 1)
    until_last, positives = order[: reached[-1] + 1], order[hits]
    step = max(1, BLOCK // len(order))
    found = []
    for begin in range(0, len(weights), step):
        block = weights[begin : begin + step]
        every = np.cumsum(np.add.reduceat(np.take(block, until_last, axis=1), starts, axis=1), axis=1, dtype=np.float64)
        gained = np.add.reduceat(np.take(block, positives, axis=1), first, axis=1).astype(np.float64)
        true = np.cumsum(gained, axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            precision = np.nansum(gained * true / every, axis=1) / np.where(true[:, -1] > 0, true[:, -1], np.nan)
        found.append(precision)
    return np.concatenate(found)


def interval(value: float, resampled: np.ndarray) -> tuple[float, float]:
    """95% interval of a metric in [0, 1] from its bootstrap: bias-corrected, within [0, 1]."""
    low, high = bias_corrected(value, resampled)
    return max(0.0, low), min(1.0, high)


def bias_corrected(value: float, resampled: np.ndarray) -> tuple[float, float]:
    """95% interval of `value` from its bootstrap: the quantiles, less the bootstrap's bias; draws of NaN do not count.

    The bias is not small: clips drawn twice raise the average precision of a small test set.
    """
    low, high = np.nanquantile(resampled, QUANTILES) - (np.nanmean(resampled) - value)
    return float(low), float(high)


def scored_classes(targets: np.ndarray) -> np.ndarray:
    """Indices of the classes with a positive and a negative clip: those that metrics are means over."""
    positives = targets.sum(0)
    return np.flatnonzero((positives > 0) & (positives < len(targets)))


def summarize(
    targets: np.ndarray, scores: np.ndarray, labels: list[str], resamples: int
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The metrics, and one row a class (label, positives, clips, AP, AUC; empty where a class has no positive).

    mAP in [0, 1]. `d_prime_mean_of_classes` is the published code's d'; `d_prime_of_mean_auc` is that of PANNs and AST.
    """
    clips = targets.shape[0]
    positives = targets.sum(0).astype(int)
    used = scored_classes(targets)
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
