"""All systems and all paired differences between them, a backbone at a time, in words by the rule of the protocol."""

from __future__ import annotations

from typing import Any

import pandas as pd

from harness.report.decisions import in_words, outcome, seeds_to_decide
from harness.report.frames import IN_POINTS, Frames
from harness.report.made_by import MadeBy
from harness.report.paper_tables.numbers import mean_sd, number, number_of_runs, span
from harness.report.paper_tables.table import Column, Table, View, cells_from, view
from harness.report.paper_tables.table1 import reproduced, table1_rows

COLUMNS = ("backbone", "model", "baseline", *IN_POINTS, "n", "outcome", "in_words", "seeds_to_decide")
FLAT = 1.0  # points: a curve is flat where it rises by less over the last quarter of its epochs (docs/protocol.md)
RULE = (
    "That a system scores higher is supported where the 95% interval of the difference lies above 0, refuted where it "
    "lies below, else undecided. How many seeds would decide it follows from the spread that was seen."
)
CURVE = (
    f"A validation curve is flat where it rises by less than {FLAT:g} point over the last quarter of the epochs. The "
    "interval of a system's mAP is over its seeds alone."
)


def comparisons(frames: Frames, by: MadeBy) -> Table:
    """A row a pair of systems that are compared: the first minus the second. A pair that is not fair has no numbers."""
    points = frames.points
    pairs = list(points.itertuples())
    lines = points.assign(
        row=points.model + " - " + points.baseline,
        outcome=[outcome(one) for one in pairs],
        in_words=[in_words(one, frames.repeats) for one in pairs],
        seeds_to_decide=pd.Series([None if one.unfair else seeds_to_decide(one) for one in pairs], dtype="Int64"),
    )
    return Table(
        name="comparisons",
        title="Systems, and the differences between them",
        cells=cells_from("row", (lines, (), COLUMNS[:3]), (lines, ["source"], COLUMNS[3:])),
        columns=COLUMNS,
        views=tuple(_views(frames, lines)),
        facts=(("Results", by.line),),
        warnings=by.warnings,
        notes=(RULE, CURVE),
    )


def _views(frames: Frames, lines: pd.DataFrame) -> list[View]:
    over, found = frames.repeats, []
    systems: list[Column] = [
        ("system", lambda row: frames.method(row.model)),
        ("convolution", lambda row: frames.systems[row.model].model.convolution),
        ("mAP (%)", reproduced),
        (f"95% interval ({over})", lambda row: span(row.map_low, row.map_high)),
        ("mAP / chance", lambda row: number(row.map_over_chance, ".1f")),
        ("validation curve", lambda row: curve(row.val_map_rise)),
    ]
    differences: list[Column] = [
        ("difference", lambda row: f"{row.method} - {row.baseline_method}"),
        ("in words", "in_words"),
        ("points", lambda row: mean_sd(row.mean, row.sd, number_of_runs(row.n, over), "+")),
        (f"95% interval ({over} and clips)", lambda row: span(row.low, row.high, "+")),
        ("95% interval (clips alone)", lambda row: span(row.clips_low, row.clips_high, "+")),
    ]
    rows = [row for row in table1_rows(frames) if row.model in frames.systems]
    for backbone in frames.by_backbone:
        these = [row for row in rows if row.backbone == backbone]
        found.append(view(f"{backbone}: systems", these, systems, words=2))
        pairs = lines[lines.backbone == backbone]
        if len(pairs):
            found.append(view(f"{backbone}: differences", pairs.itertuples(), differences, words=2))
    return found


def curve(rise: Any) -> str:
    """Of the rise of the validation mAP over the last quarter of the epochs, in points."""
    return "-" if pd.isna(rise) else "flat" if rise < FLAT else f"not flat: {rise:+.1f} points"
