"""What a paired difference of mAP says, by the one rule of docs/protocol.md."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import pandas as pd
from scipy.special import stdtrit

SUPPORTED, REFUTED, UNDECIDED = "supported", "refuted", "undecided"
OUTCOMES = {"higher": SUPPORTED, "lower": REFUTED}  # of the verdicts in comparison.json
MOST_SEEDS = 1000


def outcome(pair: Any) -> str:
    """Whether a row of `Frames.comparisons` supports that its system has the higher mAP: empty where it is not fair."""
    return "" if pair.unfair else OUTCOMES.get(pair.verdict, UNDECIDED)


def in_words(pair: Any, repeats: str) -> str:
    """`supported`, `refuted`, `undecided at this power: ...`, or `not a fair pair: ...`."""
    if pair.unfair:
        return f"{pair.verdict}: {pair.unfair}"
    if outcome(pair) != UNDECIDED:
        return outcome(pair)
    if pair.n == 1:
        return f"{UNDECIDED} at this power: one of the {repeats} shows no spread"
    needed = seeds_to_decide(pair)
    if needed is None:
        return f"{UNDECIDED} at this power: too small for these test clips, with any number of {repeats}"
    return f"{UNDECIDED} at this power: about {needed} {repeats} would decide a difference of this size"


def seeds_to_decide(pair: Any) -> int | None:
    """How many seeds would bring the interval of a difference of this size off 0, with the spread seen.

    Each arm is, as in comparison.paired, the root of the summed squares of Student's t interval over seeds, here of
    that many, and of the arm over clips, which more seeds do not shorten. None where MOST_SEEDS would not do, or one
    seed shows no spread.
    """
    towards_0 = pair.mean - pair.clips_low if pair.mean > 0 else pair.clips_high - pair.mean
    left = pair.mean**2 - max(0.0, towards_0) ** 2
    if pair.n == 1 or left <= 0:
        return None
    fits = (n for n in range(2, MOST_SEEDS + 1) if _arm(n, pair.sd) ** 2 < left)
    return next(fits, None)


def over_backbones(outcomes: Iterable[str]) -> str:
    """Of a claim about several backbones: supported where all are, refuted where one is."""
    found = [*outcomes]
    if REFUTED in found:
        return REFUTED
    return SUPPORTED if found and set(found) == {SUPPORTED} else UNDECIDED


def seed_interval(values: pd.Series) -> tuple[float, float]:
    """Student's t, 95%, of the mean of values by seed; NaN of one seed."""
    arm = _arm(len(values), values.std()) if len(values) > 1 else math.nan
    return float(values.mean()) - arm, float(values.mean()) + arm


def _arm(seeds: int, sd: float) -> float:
    return float(stdtrit(seeds - 1, 0.975)) * sd / math.sqrt(seeds)
