"""Claim by claim: what of the paper this run supports, does not support, or cannot test, in words and with numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import pandas as pd

from harness.config.systems import CLASS_COUNTS, PAPER
from harness.report.answers import REFUTED, SUPPORTED, UNDECIDED, answers, in_short
from harness.report.frames import Frames
from harness.report.made_by import MadeBy, unlike_the_paper
from harness.report.paper_tables.numbers import span
from harness.report.paper_tables.parameters import counted
from harness.report.paper_tables.table1 import table1_rows

SUPPORTS, DOES_NOT, CANNOT = "supports", "does not support", "cannot test"
BACKBONES = 3  # of the paper's table, each with and without DCLS


@dataclass(frozen=True)
class Claim:
    """A claim of the paper, what this run says of it (one of the three above), why, and the numbers, a line each.

    `in_small`: what this run's own experiment says, by the rule of docs/protocol.md; empty for a claim of cost.
    """

    claim: str
    outcome: str
    reason: str
    numbers: tuple[str, ...]
    in_small: str = ""


def verdict(frames: Frames) -> tuple[Claim, ...]:
    """The four claims. Raises UserError where parameters.json is missing or does not fit."""
    rows = [row for row in table1_rows(frames) if PAPER.get(row.model, ("", None))[1]]
    fair = set(frames.comparisons[frames.comparisons.unfair == ""].model)
    compared = [row for row in rows if row.model in fair]
    pairs = [row for row in rows if frames.baseline_of(row.model) in frames.models]
    kernels = _other_kernels(rows)
    unlike = f"It is not the paper's experiment: {'; '.join(reasons)}." if (reasons := unlike_the_paper(frames)) else ""
    of_map, of_cost = unlike or kernels or _too_few(compared), kernels or _too_few(pairs)
    return (
        replace(_map_rises(compared, of_map, frames), in_small=_in_small(frames)),
        replace(_significant(compared, of_map), in_small=_in_small(frames)),
        _parameters(pairs, of_cost, frames),
        _throughput(pairs, of_cost, frames),
    )


def _in_small(frames: Frames) -> str:
    """Whether DCLS raises mAP, over all fair pairs: supported where all are, refuted where one is, else undecided."""
    pairs = answers(frames)
    pairs = pairs[(pairs.unfair == "") & (pairs.baseline == pairs.model.map(frames.baseline_of))]
    pairs = pairs[[frames.systems[model].method == "DCLS" for model in pairs.model]]
    if pairs.empty:
        return ""
    said = [in_short(one) for one in pairs.answer]
    overall = REFUTED if REFUTED in said else SUPPORTED if set(said) == {SUPPORTED} else UNDECIDED
    each = (f"{one.backbone} {one.mean:+.2f} points, {in_short(one.answer)}" for one in pairs.itertuples())
    return f"{overall} ({'; '.join(each)})"


def verdict_page(frames: Frames, by: MadeBy) -> str:
    """verdict.md."""
    claims = verdict(frames)
    parts = [f"# What this run says of the paper's claims ({frames.preset})", f"{by.line}."]
    lines = []
    for one in claims:
        lines.append(f"- **{one.claim}**: the paper's experiment: this run **{one.outcome}** it.")
        lines += [f"  The experiment in small: **{one.in_small}**."] if one.in_small else []
    parts.append("\n".join(lines))
    for one in claims:
        parts += [f"## {one.claim}: {one.outcome}", one.reason, "\n".join(f"- {line}" for line in one.numbers)]
    return "\n\n".join(filter(None, parts)) + "\n"


def _judged(claim: str, numbers: Iterable[str], obstacle: str, against: str, supporting: str) -> Claim:
    """The outcome by the first of these reasons that is not empty."""
    outcomes = (CANNOT, obstacle), (DOES_NOT, against), (SUPPORTS, supporting)
    outcome, reason = next(one for one in outcomes if one[1])
    return Claim(claim, outcome, reason, tuple(numbers))


def _map_rises(pairs: list[Any], obstacle: str, frames: Frames) -> Claim:
    numbers = [
        f"{row.backbone}: {row.map_difference_mean:+.2f} points (published {row.map_difference_published:+.2f}), "
        f"{_interval(row)}"
        for row in pairs
    ]
    fallen = [row.backbone for row in pairs if not row.map_difference_mean > 0]
    if obstacle and pairs:
        obstacle += f" In this run's own experiment mAP rises in {len(pairs) - len(fallen)} of {len(pairs)}."
    whose = ""
    if any(map(frames.is_published, frames.models)):
        whose = " These are the authors' own weights: scored here, not trained here."
    against = f"The mean difference is not above 0 in {', '.join(fallen)}.{whose}" if fallen else ""
    supporting = f"The mean difference is above 0 in all three.{whose}"
    return _judged("DCLS raises mAP in all three backbones", numbers, obstacle, against, supporting)


def _significant(pairs: list[Any], obstacle: str) -> Claim:
    numbers = [f"{row.backbone}: {row.map_difference_in_words}, {_interval(row)}" for row in pairs]
    higher = [row.backbone for row in pairs if row.map_difference_in_words == "higher"]
    told = f"{', '.join(higher) or 'none'} of {len(pairs)}"
    if obstacle and pairs:
        obstacle += f" In this run's own experiment the 95% interval is above 0 in {told}."
    elif any(pd.isna(row.map_difference_low) for row in pairs):
        obstacle = "One run a model says how clips vary, not how trainings do: two seeds are needed."
    against = f"The 95% interval of the difference is above 0 in {told}." if len(higher) < len(pairs) else ""
    supporting = "The 95% interval of the difference is above 0 in all three."
    return _judged("The improvement in mAP is significant", numbers, obstacle, against, supporting)


def _parameters(pairs: list[Any], obstacle: str, frames: Frames) -> Claim:
    counts = counted(frames).set_index("model")
    numbers, more = [], []
    for row, classes in product(pairs, CLASS_COUNTS):
        here, there = (counts[f"total_{classes}"][one] for one in (row.model, frames.baseline_of(row.model)))
        told = f"{here:,} with DCLS, {there:,} without ({here - there:+,})"
        numbers.append(f"{row.backbone}, {classes} classes: {told}")
        more += [row.backbone] if here > there else []
    against = f"There are more in {', '.join(dict.fromkeys(more))}." if more else ""
    supporting = "Counted on the full-size models, there are no more in any of the three."
    return _judged("DCLS needs no more parameters", numbers, obstacle, against, supporting)


def _throughput(pairs: list[Any], obstacle: str, frames: Frames) -> Claim:
    """The cost is low where no pair loses more than the pair that loses most in the paper's table."""
    numbers = [
        f"{row.backbone}: {row.speed_ratio_527:.2f} of its baseline's speed (published "
        f"{row.speed_ratio_published:.2f}), full-size model, {row.timing_condition}, on {row.timing_device}: "
        f"{row.speed_in_words}"
        for row in pairs
    ]
    bound = min((row.speed_ratio_published for row in pairs), default=0.0)
    slower = ", ".join(row.backbone for row in pairs if row.speed_ratio_527 < bound)
    rule = f"the {bound:.2f} of the paper's own slowest pair"
    against, supporting = f"below {rule} in {slower}" if slower else "", f"nowhere below {rule}"
    if not obstacle and (frames.shown_timings.gpu == "").any():
        obstacle = (
            f"The paper's models were timed on a GPU, these on a CPU. On it the ratio is {against or supporting}."
        )
    against = f"The ratio is {against}." if against else ""
    return _judged("The cost in throughput is low", numbers, obstacle, against, f"The ratio is {supporting}.")


def _too_few(pairs: list[Any]) -> str:
    if len(pairs) == BACKBONES:
        return ""
    return f"Only {len(pairs)} of the {BACKBONES} backbones ran with and without DCLS."


def _other_kernels(rows: Iterable[Any]) -> str:
    for row in rows:
        here, published = (row.kernel_count, row.kernel_size), (row.kernel_count_published, row.kernel_size_published)
        if here != published:
            said = "{} elements in {}, there {} in {}".format(*here, *published)
            return f"The DCLS kernels are not the paper's: {said}."
    return ""


def _interval(row: Any) -> str:
    many = f"{row.map_difference_seeds} {row.repeats if row.map_difference_seeds != 1 else row.repeats[:-1]}"
    if pd.isna(row.map_difference_low):
        clips = span(row.map_difference_clips_low, row.map_difference_clips_high, "+")
        return f"95% interval over clips alone {clips}, {many}"
    return f"95% interval {span(row.map_difference_low, row.map_difference_high, '+')}, {many}"
