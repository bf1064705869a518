"""Claim by claim: what of the paper this run supports, does not support, or cannot test, in words and with numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.config.systems import CLASS_COUNTS, baseline_of, is_dcls
from harness.report.grid import span
from harness.report.load import Results
from harness.report.made_by import MadeBy, unlike_the_paper
from harness.report.parameters import load_parameters
from harness.report.summary import Row, summary

SUPPORTS, DOES_NOT, CANNOT = "supports", "does not support", "cannot test"
BACKBONES = 3  # of the paper's table, each with and without DCLS


@dataclass(frozen=True)
class Claim:
    """A claim of the paper, what this run says of it (one of the three above), why, and the numbers, a line each."""

    claim: str
    outcome: str
    reason: str
    numbers: tuple[str, ...]


def verdict(results: Results) -> tuple[Claim, ...]:
    """The four claims. Raises UserError where parameters.json is missing or does not fit."""
    pairs = [row for row in summary(results) if row.model in results.compared]
    return (_map_rises(results, pairs), _significant(results, pairs), _parameters(results), _throughput(results))


def verdict_page(results: Results, by: MadeBy) -> str:
    """verdict.md."""
    parts = [f"# What this run says of the paper's claims ({results.preset})", f"{by.line}."]
    parts.append("\n".join(f"- **{one.claim}**: this run **{one.outcome}** it." for one in verdict(results)))
    for one in verdict(results):
        numbers = "\n".join(f"- {line}" for line in one.numbers)
        parts += [f"## {one.claim}: {one.outcome}", f"{one.reason}", *([numbers] if numbers else [])]
    return "\n\n".join(parts) + "\n"


def _map_rises(results: Results, pairs: list[Row]) -> Claim:
    claim = "DCLS raises mAP in all three backbones"
    numbers = tuple(_difference(row) for row in pairs)
    obstacle = _obstacle(results, pairs)
    fallen = [row.backbone for row in pairs if not _mean(row) > 0]
    if obstacle:
        rise = f"In this run's own experiment mAP rises in {len(pairs) - len(fallen)} of {len(pairs)}."
        return Claim(claim, CANNOT, f"{obstacle} {rise}" if pairs else obstacle, numbers)
    whose = _whose_weights(results)
    if fallen:
        return Claim(claim, DOES_NOT, f"The mean difference is not above 0 in {_listed(fallen)}.{whose}", numbers)
    return Claim(claim, SUPPORTS, f"The mean difference is above 0 in all three.{whose}", numbers)


def _significant(results: Results, pairs: list[Row]) -> Claim:
    claim = "The improvement in mAP is significant"
    numbers = tuple(f"{row.backbone}: {row.map_difference_in_words}, {_interval(row)}" for row in pairs)
    obstacle = _obstacle(results, pairs)
    higher = [row.backbone for row in pairs if row.map_difference_in_words == "higher"]
    told = f"{_listed(higher)} of {len(pairs)}" if higher else f"none of {len(pairs)}"
    if obstacle:
        own = f"In this run's own experiment the 95% interval is above 0 in {told}."
        return Claim(claim, CANNOT, f"{obstacle} {own}" if pairs else obstacle, numbers)
    if any(row.map_difference_low is None for row in pairs):
        return Claim(
            claim, CANNOT, "One run a model says how clips vary, not how trainings do: two seeds are needed.", numbers
        )
    if len(higher) < len(pairs):
        return Claim(claim, DOES_NOT, f"The 95% interval of the difference is above 0 in {told}.", numbers)
    return Claim(claim, SUPPORTS, "The 95% interval of the difference is above 0 in all three.", numbers)


def _parameters(results: Results) -> Claim:
    claim = "DCLS needs no more parameters"
    counted = load_parameters(results)
    numbers, more = [], []
    pairs = _pairs(results)
    for model in pairs:
        name, baseline = results.published[model].backbone, counted[baseline_of(model)]
        rises = []
        for classes in map(str, CLASS_COUNTS):
            here, there = counted[model]["classes"][classes]["total"], baseline["classes"][classes]["total"]
            rises.append(here - there)
            numbers.append(f"{name}, {classes} classes: {here:,} with DCLS, {there:,} without ({here - there:+,})")
        if max(rises) > 0:
            more.append(name)
    obstacle = _other_kernels(results) or _too_few(len(pairs))
    if obstacle:
        return Claim(claim, CANNOT, obstacle, tuple(numbers))
    if more:
        return Claim(claim, DOES_NOT, f"There are more in {_listed(more)}.", tuple(numbers))
    return Claim(
        claim, SUPPORTS, "Counted on the full-size models, there are no more in any of the three.", tuple(numbers)
    )


def _throughput(results: Results) -> Claim:
    """Low is what the paper shows: no more is lost than in the backbone of its table that loses most."""
    claim = "The cost in throughput is low"
    rows = {row.model: row for row in summary(results)}
    pairs = _pairs(results)
    numbers, slower = [], []
    bound = min((_number(rows[model].speed_ratio_published) for model in pairs), default=0.0)
    for model in pairs:
        here, published = _number(rows[model].speed_ratio_527), _number(rows[model].speed_ratio_published)
        numbers.append(
            f"{rows[model].backbone}: {here:.2f} of its baseline's speed (published {published:.2f}), full-size model, "
            f"{rows[model].timing_condition}, on {rows[model].timing_device}: {rows[model].speed_in_words}"
        )
        if here < bound:
            slower.append(rows[model].backbone)
    rule = f"the {bound:.2f} of the paper's own slowest pair"
    obstacle = _other_kernels(results) or _too_few(len(pairs))
    if not obstacle and any(results.timings[model].record["gpu"] is None for model in pairs):
        where = f"below {rule} in {_listed(slower)}" if slower else f"nowhere below {rule}"
        obstacle = f"The paper's models were timed on a GPU, these on a CPU. On it the ratio is {where}."
    if obstacle:
        return Claim(claim, CANNOT, obstacle, tuple(numbers))
    if slower:
        return Claim(claim, DOES_NOT, f"The ratio is below {rule} in {_listed(slower)}.", tuple(numbers))
    return Claim(claim, SUPPORTS, f"The ratio is nowhere below {rule}.", tuple(numbers))


def _obstacle(results: Results, pairs: list[Row]) -> str:
    """Why this run cannot speak of the paper's mAP; empty where it can."""
    reasons = unlike_the_paper(results)
    if reasons:
        return f"It is not the paper's experiment: {'; '.join(reasons)}."
    return _other_kernels(results) or _too_few(len(pairs))


def _whose_weights(results: Results) -> str:
    starts = (run.training["parameters"]["model"]["start"] for runs in results.runs.values() for run in runs)
    return " These are the authors' own weights: scored here, not trained here." if "published" in starts else ""


def _too_few(pairs: int) -> str:
    return "" if pairs == BACKBONES else f"Only {pairs} of the {BACKBONES} backbones ran with and without DCLS."


def _other_kernels(results: Results) -> str:
    for row in summary(results):
        here, published = (row.kernel_size, row.kernel_count), (row.kernel_size_published, row.kernel_count_published)
        if is_dcls(row.model) and here != published:
            return (
                f"The DCLS kernels are not the paper's: {here[1]} elements in {here[0]}, there {published[1]} in "
                f"{published[0]}."
            )
    return ""


def _pairs(results: Results) -> list[str]:
    return [model for model in results.models if is_dcls(model) and baseline_of(model) in results.models]


def _difference(row: Row) -> str:
    published = _number(row.map_difference_published)
    return f"{row.backbone}: {_mean(row):+.2f} points (published {published:+.2f}), {_interval(row)}"


def _interval(row: Row) -> str:
    many = f"{row.map_difference_seeds} {row.repeats if row.map_difference_seeds != 1 else str(row.repeats)[:-1]}"
    if row.map_difference_low is None:
        clips = span(row.map_difference_clips_low, row.map_difference_clips_high, sign="+")
        return f"95% interval over clips alone {clips}, {many}"
    return f"95% interval {span(row.map_difference_low, row.map_difference_high, sign='+')}, {many}"


def _mean(row: Row) -> float:
    return _number(row.map_difference_mean)


def _number(value: float | None) -> float:
    if value is None:
        raise ValueError("a pair of the comparison lacks a number")
    return value


def _listed(names: Sequence[str | None]) -> str:
    return ", ".join(map(str, names))
