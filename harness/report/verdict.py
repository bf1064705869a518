"""Claim by claim: what of the paper this run supports, does not support, or cannot test, in words and with numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from harness.config.systems import CLASS_COUNTS, baseline_of, is_dcls
from harness.report.frames import Frames
from harness.report.made_by import MadeBy, unlike_the_paper
from harness.report.paper_tables.numbers import span
from harness.report.paper_tables.parameters import counted
from harness.report.paper_tables.table1 import table1_rows

SUPPORTS, DOES_NOT, CANNOT = "supports", "does not support", "cannot test"
BACKBONES = 3  # of the paper's table, each with and without DCLS


@dataclass(frozen=True)
class Claim:
    """A claim of the paper, what this run says of it (one of the three above), why, and the numbers, a line each."""

    claim: str
    outcome: str
    reason: str
    numbers: tuple[str, ...]


def verdict(frames: Frames) -> tuple[Claim, ...]:
    """The four claims. Raises UserError where parameters.json is missing or does not fit."""
    rows = [row for row in table1_rows(frames) if is_dcls(row.model)]
    compared = [row for row in rows if pd.notna(row.map_difference_mean)]
    pairs = [row for row in rows if baseline_of(row.model) in frames.models]
    kernels = _other_kernels(rows)
    small = kernels or _too_few(len(pairs))
    unlike = f"It is not the paper's experiment: {'; '.join(reasons)}." if (reasons := unlike_the_paper(frames)) else ""
    obstacle = unlike or kernels or _too_few(len(compared))
    return (
        _map_rises(compared, obstacle, frames),
        _significant(compared, obstacle),
        _parameters(pairs, small, frames),
        _throughput(pairs, small, frames),
    )


def verdict_page(frames: Frames, by: MadeBy) -> str:
    """verdict.md."""
    claims = verdict(frames)
    parts = [f"# What this run says of the paper's claims ({frames.preset})", f"{by.line}."]
    parts.append("\n".join(f"- **{one.claim}**: this run **{one.outcome}** it." for one in claims))
    for one in claims:
        numbers = "\n".join(f"- {line}" for line in one.numbers)
        parts += [f"## {one.claim}: {one.outcome}", one.reason, *([numbers] if numbers else [])]
    return "\n\n".join(parts) + "\n"


def _map_rises(pairs: list[Any], obstacle: str, frames: Frames) -> Claim:
    claim = "DCLS raises mAP in all three backbones"
    numbers = tuple(
        f"{row.backbone}: {row.map_difference_mean:+.2f} points (published {row.map_difference_published:+.2f}), "
        f"{_interval(row)}"
        for row in pairs
    )
    fallen = [row.backbone for row in pairs if not row.map_difference_mean > 0]
    if obstacle:
        rise = f" In this run's own experiment mAP rises in {len(pairs) - len(fallen)} of {len(pairs)}."
        return Claim(claim, CANNOT, f"{obstacle}{rise if pairs else ''}", numbers)
    whose = ""
    if any(map(frames.is_published, frames.models)):
        whose = " These are the authors' own weights: scored here, not trained here."
    if fallen:
        return Claim(claim, DOES_NOT, f"The mean difference is not above 0 in {_listed(fallen)}.{whose}", numbers)
    return Claim(claim, SUPPORTS, f"The mean difference is above 0 in all three.{whose}", numbers)


def _significant(pairs: list[Any], obstacle: str) -> Claim:
    claim = "The improvement in mAP is significant"
    numbers = tuple(f"{row.backbone}: {row.map_difference_in_words}, {_interval(row)}" for row in pairs)
    higher = [row.backbone for row in pairs if row.map_difference_in_words == "higher"]
    told = f"{_listed(higher)} of {len(pairs)}" if higher else f"none of {len(pairs)}"
    if obstacle:
        own = f" In this run's own experiment the 95% interval is above 0 in {told}."
        return Claim(claim, CANNOT, f"{obstacle}{own if pairs else ''}", numbers)
    if any(pd.isna(row.map_difference_low) for row in pairs):
        why = "One run a model says how clips vary, not how trainings do: two seeds are needed."
        return Claim(claim, CANNOT, why, numbers)
    if len(higher) < len(pairs):
        return Claim(claim, DOES_NOT, f"The 95% interval of the difference is above 0 in {told}.", numbers)
    return Claim(claim, SUPPORTS, "The 95% interval of the difference is above 0 in all three.", numbers)


def _parameters(pairs: list[Any], obstacle: str, frames: Frames) -> Claim:
    claim = "DCLS needs no more parameters"
    counts = counted(frames).set_index("model")
    numbers, more = [], []
    for row in pairs:
        rises = []
        for classes in CLASS_COUNTS:
            here, there = (counts[f"total_{classes}"][one] for one in (row.model, baseline_of(row.model)))
            rises.append(here - there)
            told = f"{here:,} with DCLS, {there:,} without ({here - there:+,})"
            numbers.append(f"{row.backbone}, {classes} classes: {told}")
        more += [row.backbone] if max(rises) > 0 else []
    if obstacle:
        return Claim(claim, CANNOT, obstacle, tuple(numbers))
    if more:
        return Claim(claim, DOES_NOT, f"There are more in {_listed(more)}.", tuple(numbers))
    reason = "Counted on the full-size models, there are no more in any of the three."
    return Claim(claim, SUPPORTS, reason, tuple(numbers))


def _throughput(pairs: list[Any], obstacle: str, frames: Frames) -> Claim:
    """The cost is low where no pair loses more than the pair that loses most in the paper's table."""
    claim = "The cost in throughput is low"
    numbers = tuple(
        f"{row.backbone}: {row.speed_ratio_527:.2f} of its baseline's speed (published "
        f"{row.speed_ratio_published:.2f}), full-size model, {row.timing_condition}, on {row.timing_device}: "
        f"{row.speed_in_words}"
        for row in pairs
    )
    bound = min((row.speed_ratio_published for row in pairs), default=0.0)
    slower = [row.backbone for row in pairs if row.speed_ratio_527 < bound]
    rule = f"the {bound:.2f} of the paper's own slowest pair"
    if not obstacle and (frames.shown_timings.gpu == "").any():
        where = f"below {rule} in {_listed(slower)}" if slower else f"nowhere below {rule}"
        obstacle = f"The paper's models were timed on a GPU, these on a CPU. On it the ratio is {where}."
    if obstacle:
        return Claim(claim, CANNOT, obstacle, numbers)
    if slower:
        return Claim(claim, DOES_NOT, f"The ratio is below {rule} in {_listed(slower)}.", numbers)
    return Claim(claim, SUPPORTS, f"The ratio is nowhere below {rule}.", numbers)


def _too_few(pairs: int) -> str:
    return "" if pairs == BACKBONES else f"Only {pairs} of the {BACKBONES} backbones ran with and without DCLS."


def _other_kernels(rows: Iterable[Any]) -> str:
    for row in rows:
        here, published = (row.kernel_size, row.kernel_count), (row.kernel_size_published, row.kernel_count_published)
        if here != published:
            return (
                f"The DCLS kernels are not the paper's: {here[1]} elements in {here[0]}, there {published[1]} in "
                f"{published[0]}."
            )
    return ""


def _interval(row: Any) -> str:
    many = f"{row.map_difference_seeds} {row.repeats if row.map_difference_seeds != 1 else row.repeats[:-1]}"
    if pd.isna(row.map_difference_low):
        clips = span(row.map_difference_clips_low, row.map_difference_clips_high, "+")
        return f"95% interval over clips alone {clips}, {many}"
    return f"95% interval {span(row.map_difference_low, row.map_difference_high, '+')}, {many}"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
