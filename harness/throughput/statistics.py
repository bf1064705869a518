"""Medians with bootstrap intervals, and the noise of the benchmark itself."""

from __future__ import annotations

import numpy as np

RESAMPLES = 2000


def median_interval(values: np.ndarray) -> tuple[float, float, float]:
    """The median of (rounds,) and its 95% interval by percentile bootstrap over the rounds; seeded."""
    drawn = np.random.default_rng(0).choice(values, (RESAMPLES, len(values)))
    low, high = np.quantile(np.median(drawn, axis=1), (0.025, 0.975))
    return float(np.median(values)), float(low), float(high)


def noise_of(ratios: np.ndarray) -> float:
    """How far from 1 the 95% interval of the median ratio of a model to itself reaches.

    No difference between two models that is smaller can be told from noise.
    """
    _, low, high = median_interval(ratios)
    return max(abs(1 - low), abs(high - 1))


def percentile(values: np.ndarray, percent: int) -> float | None:
    """A percentile of (rounds,); None where too few rounds lie beyond it to say more than the slowest one does."""
    return float(np.percentile(values, percent)) if len(values) * (100 - percent) >= 100 else None
