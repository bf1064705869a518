"""Claim by claim: what this run, and what the paper's experiment, say of it, in words and numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import pandas as pd

from harness.config.systems import BACKBONES, CLASS_COUNTS, PAPER
from harness.report.decisions import REFUTED, SUPPORTED, UNDECIDED, in_words, outcome, over_backbones
from harness.report.frames import Frames
from harness.report.made_by import MadeBy, unlike_the_paper
from harness.report.paper_tables.numbers import so_many, span
from harness.report.paper_tables.parameters import counted
from harness.report.paper_tables.table1 import table1_rows

CANNOT = "cannot be tested here"


@dataclass(frozen=True)
class Outcome:
    """`word` is one of the rule's three or CANNOT."""

    word: str
    reason: str


@dataclass(frozen=True)
class Claim:
    """A claim, what the paper's experiment and this run in small say of it, and the numbers, a line each.

    `small` is None where both are the same: where this is the paper's experiment, or full-size models were counted.
    `said` is how a sentence puts each outcome, and `by_backbone` has the outcomes in small.
    """

    claim: str
    paper: Outcome
    small: Outcome | None
    numbers: tuple[str, ...]
    said: Mapping[str, str] = field(default_factory=dict)
    by_backbone: tuple[tuple[str, str], ...] = ()

    @property
    def lines(self) -> tuple[tuple[str, Outcome], ...]:
        found = (("This run", self.small), ("The paper's experiment", self.paper))
        return tuple((what, one) for what, one in found if one)


def verdict(frames: Frames) -> tuple[Claim, ...]:
    """Differences of mAP first, that of the main DCLS models to their baselines before all; then parameters and
    throughput. Raises UserError where parameters.json is missing or does not fit."""
    rows = [row for row in table1_rows(frames) if PAPER.get(row.model, ("", None))[1] in frames.systems]
    unlike = f"This is not it: {'; '.join(reasons)}." if (reasons := unlike_the_paper(frames)) else ""
    cost = _other_kernels(rows) or _too_few([row.backbone for row in rows])
    return (*_differences(frames, unlike), _parameters(rows, cost, frames), _throughput(rows, cost, frames))


def answer(frames: Frames, claims: tuple[Claim, ...]) -> str:
    """What was found of DCLS and of learning its spacings, in one sentence."""
    said = [
        text.format(_named([backbone for backbone, found in one.by_backbone if found == word]))
        for one in claims
        for word, text in one.said.items()
        if word in dict(one.by_backbone).values()
    ]
    if not said:
        return f"No DCLS system of {frames.preset} has a fair pair with its baseline."
    where = "In this small experiment" if unlike_the_paper(frames) else "In the paper's experiment"
    return f"{where}, {'; '.join(said)}."


def verdict_page(frames: Frames, claims: tuple[Claim, ...], by: MadeBy) -> str:
    """verdict.md."""
    parts = [f"# What this run says of the claims ({frames.preset})", answer(frames, claims), f"{by.line}."]
    for one in claims:
        parts.append(f"## {one.claim}")
        parts.append("\n".join(f"- {what}: **{found.word}**. {found.reason}" for what, found in one.lines))
        parts.append("\n".join(f"- {line}" for line in one.numbers))
    return "\n\n".join(filter(None, parts)) + "\n"


def _differences(frames: Frames, unlike: str) -> list[Claim]:
    """A claim a pair of labels, over all the backbones that have such a pair."""
    published, main = frames.published.set_index("model").mAP_difference, set(frames.headline_pairs)
    found = []
    for (method, other), group in frames.points.groupby(["method", "baseline_method"], sort=False):
        fair = group[group.unfair == ""]
        fair = fair.assign(outcome=[outcome(row) for row in fair.itertuples()])
        by_backbone = tuple(zip(fair.backbone, fair.outcome, strict=True))
        first, numbers = group.iloc[0], [_number(row, frames.repeats, published) for row in group.itertuples()]
        is_main = bool(main & set(zip(group.model, group.baseline, strict=True)))
        fixed = frames.systems[first.baseline].is_dcls and not frames.learns_spacings(first.baseline)
        claim, said = f"{method} has a higher mAP than {other}", dict[str, str]()
        if is_main:
            claim, who = "DCLS raises mAP in all three backbones", re.sub("^DCLS, (.+)", r"DCLS (\1)", method)
            said = _said(f"{who} beats the {other}", f"{who} loses to the {other}")
        elif fixed and first.model in frames.main.values():
            claim = f"Learning the spacings raises mAP: {claim}"
            said = _said("learning the spacings helps beyond the longer reach", "learning the spacings costs mAP")
        fewer = _too_few(list(fair.backbone)) if is_main else ""
        word = over_backbones(fair.outcome)
        told = f"It is {_told(fair)}." if by_backbone else "No pair is fair."
        published_pair = (fair.model.map(PAPER.get).str[1] == fair.baseline).all() and len(fair)
        obstacle = unlike or fewer or ("" if published_pair else "The paper compares no such systems.")
        paper = Outcome(CANNOT, obstacle) if obstacle else Outcome(word, told)
        small = Outcome(word if by_backbone else CANNOT, told) if obstacle else None
        found.append((not is_main, not said, Claim(claim, paper, small, tuple(numbers), said, by_backbone)))
    return [claim for _, _, claim in sorted(found, key=lambda one: one[:2])]


def _said(yes: str, no: str) -> dict[str, str]:
    return {SUPPORTED: f"{yes} in {{}}", REFUTED: f"{no} in {{}}", UNDECIDED: f"it is undecided whether {yes} in {{}}"}


def _told(fair: pd.DataFrame) -> str:
    """`supported for ConvNeXt-T and undecided for ConvFormer-S18 and FastViT-SA24`."""
    named = fair.groupby("outcome", sort=False).backbone.agg(list)
    listed = _named if len(named) == 1 else _listed
    return _listed([f"{word} for {listed(backbones)}" for word, backbones in named.items()])


def _named(backbones: list[str]) -> str:
    return "all three backbones" if len(backbones) == len(BACKBONES) else _listed(backbones)


def _listed(names: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _number(row: Any, repeats: str, published: pd.Series) -> str:
    """A pair's line."""
    if row.unfair:
        return f"{row.backbone}: {in_words(row, repeats)}"
    beside = f" (published {published[row.model]:+.2f})" if row.model in published.dropna() else ""
    alone = (row.clips_low, row.clips_high, " over clips alone")
    low, high, which = alone if row.n == 1 else (row.low, row.high, "")
    interval = f"95% interval{which} {span(low, high, '+')}, {so_many(row.n, repeats)}"
    return f"{row.backbone}: {row.mean:+.2f} points{beside}, {interval}: {in_words(row, repeats)}"


def _parameters(pairs: list[Any], obstacle: str, frames: Frames) -> Claim:
    counts, trained = counted(frames).set_index("model"), frames.first_runs.trained_parameters
    full = [(row, f"{n} classes", counts[f"total_{n}"]) for row, n in product(pairs, CLASS_COUNTS)]
    reduced = [(row, "reduced, as trained here", trained) for row in pairs if not frames.full_size]
    numbers = []
    for row, which, of_models in full + reduced:
        here, there = (int(of_models[one]) for one in (row.model, PAPER[row.model][1]))
        numbers.append(f"{row.backbone}, {which}: {here:,} with DCLS, {there:,} without ({here - there:+,})")
    more = [row.backbone for row, _, of_models in full if of_models[row.model] > of_models[PAPER[row.model][1]]]
    found = Outcome(SUPPORTED, "Counted on the full-size models, there are no more in any of the three.")
    if more:
        found = Outcome(REFUTED, f"There are more in {', '.join(dict.fromkeys(more))}.")
    claim = "DCLS needs no more parameters (full-size models)"
    return Claim(claim, Outcome(CANNOT, obstacle) if obstacle else found, None, tuple(numbers))


def _throughput(pairs: list[Any], obstacle: str, frames: Frames) -> Claim:
    """The cost is low where no pair loses more than the pair that loses most in the paper's table."""
    timed = [row for row in pairs if pd.notna(row.speed_ratio_527)]
    numbers = [
        f"{row.backbone}: {row.speed_ratio_527:.2f} of its baseline's speed (published "
        f"{row.speed_ratio_published:.2f}), full-size model, {row.timing_condition}, on {row.timing_device}: "
        f"{row.speed_in_words}"
        for row in timed
    ]
    bound = min((row.speed_ratio_published for row in timed), default=0.0)
    slower = ", ".join(row.backbone for row in timed if row.speed_ratio_527 < bound)
    where = f"below the {bound:.2f} of the paper's own slowest pair"
    found = Outcome(REFUTED, f"The ratio is {where} in {slower}.")
    if not slower:
        found = Outcome(SUPPORTED, f"The ratio is nowhere {where}.")
    obstacle, small = obstacle or _too_few([row.backbone for row in timed], "were timed"), None
    if not obstacle and (frames.shown_timings.gpu == "").any():
        obstacle, small = "The paper's models were timed on a GPU, these on a CPU.", found
    paper = Outcome(CANNOT, obstacle) if obstacle else found
    return Claim("The cost in throughput is low", paper, small, tuple(numbers))


def _too_few(backbones: list[str], did: str = "ran in a fair pair") -> str:
    if len(set(backbones)) == len(BACKBONES):
        return ""
    return f"Only {len(set(backbones))} of the {len(BACKBONES)} backbones {did} with and without DCLS."


def _other_kernels(rows: Iterable[Any]) -> str:
    for row in rows:
        here, published = (row.kernel_count, row.kernel_size), (row.kernel_count_published, row.kernel_size_published)
        if here != published:
            said = "{} elements in {}, there {} in {}".format(*here, *published)
            return f"The DCLS kernels are not the paper's: {said}."
    return ""
