"""Whether each goal is met: those of the report for ratios to the baseline, and the one against the published package.

Standard library only, since it also has to speak where PyTorch could not be imported.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.config.systems import MODELS, is_dcls
from harness.report.load import load_published
from harness.report.summary import published_ratio
from harness.report.throughput_table import GOALS
from harness.report.timings import Timing, parse
from harness.throughput import rows

PAIRS = tuple(filter(is_dcls, MODELS))
TIMES = 5.0  # against the published package's layers, in training
MET, MISSED, NOT_MEASURED = "met", "missed", "not measured"


@dataclass(frozen=True)
class Verdict:
    """Of a goal and a DCLS model: the lowest value of all conditions that count, and the one at the largest batch."""

    goal: str
    model: str
    wanted: float
    lowest: float | None
    lowest_at: str
    largest_batch: float | None
    row: Timing | None = None

    @property
    def met(self) -> str:
        if self.lowest is None:
            return NOT_MEASURED
        return MET if self.lowest >= self.wanted else MISSED


def verdicts(out: Path) -> Iterator[Verdict]:
    """Of what timings.csv and compared.csv in the output folder hold."""
    path = out / "timings.csv"
    timings, published = parse(str(path), rows.read(path)), load_published(MODELS)
    for goal in GOALS:
        for model in PAIRS:
            wanted = goal.wanted or published_ratio(published, model) or 0.0
            found = [one for one in timings if one.model == model and one.ratio is not None and goal.takes(one)]
            yield verdict(goal.words, model, wanted, found)
    for model in PAIRS:
        yield against_published(model, out / "compared.csv")


def verdict(goal: str, model: str, wanted: float, found: list[Timing]) -> Verdict:
    if not found:
        return Verdict(goal, model, wanted, None, "", None)
    worst = min(found, key=lambda one: one.ratio or 0.0)
    largest = min(
        (one for one in found if one.condition.batch == max(each.condition.batch for each in found)),
        key=lambda one: one.ratio or 0.0,
    )
    return Verdict(goal, model, wanted, worst.ratio, worst.condition.words, largest.ratio, worst)


def against_published(model: str, path: Path) -> Verdict:
    goal, found = f"training: at least {TIMES:g} times as fast as with the published package's layers", []
    if path.is_file():
        with open(path, newline="") as file:
            found = [
                (float(row["dcls_times_as_fast"]), f"{row['precision']}, batch {row['batch']}")
                for row in csv.DictReader(file)
                if (row["model"], row["mode"], row["layers"]) == (model, "training", "published")
                and row["dcls_times_as_fast"]
            ]
    if not found:
        return Verdict(goal, model, TIMES, None, "", None)
    lowest, where = min(found)
    return Verdict(goal, model, TIMES, lowest, where, lowest)


def table(found: list[Verdict]) -> str:
    """As Markdown."""
    lines = ["| goal | model | wanted | lowest | at | at the largest batch | |", "|---|---|---:|---:|---|---:|---|"]
    for one in found:
        lowest, largest = ("" if value is None else f"{value:.3f}" for value in (one.lowest, one.largest_batch))
        lines.append(
            f"| {one.goal} | {one.model} | {one.wanted:.2f} | {lowest} | {one.lowest_at} | {largest} | {one.met} |"
        )
    return "\n".join(lines)
