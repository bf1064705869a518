"""Whether each goal is met: those of the report for ratios to the baseline, and the one against the published package.

Without PyTorch, since it also has to speak where that could not be imported.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from harness.config.systems import BACKBONES, PAPER
from harness.report import paper_frames
from harness.report.paper_tables.throughput import GOALS
from harness.report.reading import WORKING_TREE
from harness.report.timing_frames import FLAGS, condition_of, read_timings
from harness.throughput import rows

PAIRS = {name: BACKBONES[backbone] for name, (backbone, baseline) in PAPER.items() if baseline}
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
    row: pd.Series | None = None

    @property
    def met(self) -> str:
        if self.lowest is None:
            return NOT_MEASURED
        return MET if self.lowest >= self.wanted else MISSED


def verdicts(out: Path) -> Iterator[Verdict]:
    """Of what timings.csv and compared.csv in the output folder hold."""
    path = out / "timings.csv"
    timings = read_timings(WORKING_TREE, path) if path.is_file() else pd.DataFrame(columns=[*rows.COLUMNS])
    timings = timings[timings.ratio_to_baseline.notna()]
    published = paper_frames.published(WORKING_TREE).set_index("model").speed_ratio
    for words, which, wanted in GOALS:
        met = timings.assign(**{name: timings[name].map(rows.text) for name in FLAGS}).query(which)
        for model, backbone in PAIRS.items():
            found = timings.loc[met.index[met.backbone == backbone]].assign(model=model)
            yield verdict(words, model, wanted or float(published[model]), found)
    for model in PAIRS:
        yield against_published(model, out / "compared.csv")


def verdict(goal: str, model: str, wanted: float, found: pd.DataFrame) -> Verdict:
    if found.empty:
        return Verdict(goal, model, wanted, None, "", None)
    worst = found.loc[found.ratio_to_baseline.astype(float).idxmin()]
    largest = float(found[found.batch == found.batch.max()].ratio_to_baseline.min())
    return Verdict(goal, model, wanted, float(worst.ratio_to_baseline), condition_of(worst).words, largest, worst)


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
