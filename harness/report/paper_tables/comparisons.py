"""mAP by system, and every comparison of two systems with what it says: supported, refuted or undecided."""

from __future__ import annotations

import pandas as pd

from harness.report.answers import answers, rise_at_the_end, systems
from harness.report.frames import Frames
from harness.report.made_by import MadeBy
from harness.report.paper_tables.numbers import mean_sd, number, number_of_runs, span
from harness.report.paper_tables.table import Column, Table, View, cells_from, view

FLAT = 1.0  # points: a validation curve that rises less over its last quarter is flat
COLUMNS = (
    *("model", "baseline", "question", "seeds", "difference", "sd", "low", "high", "clips_low", "clips_high"),
    "answer",
)
NOTES = (
    "Differences are in percentage points of test mAP. The 95% interval takes in seeds and clips, as in table 1.",
    "Supported: the interval lies above 0; refuted: below 0; undecided: it holds 0, and with it stands how many seeds "
    "would decide a difference of this size, from the spread seen. A pair that differs in anything but the convolution "
    "is not fair, and supports nothing.",
    f"A validation curve counts as flat where it rose by less than {FLAT:g} point over the last quarter of the epochs.",
)


def comparisons(frames: Frames, by: MadeBy) -> Table:
    """A row a comparison that the parameters ask for."""
    found = answers(frames)
    found = found.assign(row=found.model + " - " + found.baseline, difference=found["mean"])
    measured = ("difference", "sd", "low", "high", "clips_low", "clips_high", "answer")
    cells = pd.concat(
        [
            cells_from(found, "row", (), {name: name for name in ("model", "baseline", "question")}),
            cells_from(found, "row", ["source"], {"seeds": "n"} | {name: name for name in measured}),
        ]
    )
    return Table(
        name="comparisons",
        title="Systems compared",
        cells=cells,
        columns=COLUMNS,
        views=(_systems(frames), *_answers(frames, found)),
        facts=by.facts[:3],
        warnings=by.warnings,
        notes=NOTES,
    )


def _systems(frames: Frames) -> View:
    rose = rise_at_the_end(frames)

    def curve(model: str) -> str:
        if model not in rose.index:
            return "-"
        return "flat" if rose[model] < FLAT else f"rose by {rose[model]:.1f} points at the end"

    over = frames.runs.set_index("model")
    columns: list[Column] = [
        ("backbone", "backbone"),
        ("system", "method"),
        ("depthwise convolution", "convolution"),
        ("test mAP", lambda one: mean_sd(one.mean, None, number_of_runs(one.n, frames.repeats))),
        ("95% interval", lambda one: span(one.low, one.high)),
        ("over chance", lambda one: number((over.mAP[one.model] / over.prevalence[one.model]).mean(), ".1f")),
        ("validation curve", lambda one: curve(one.model)),
    ]
    return view("mAP in percent by system", systems(frames).itertuples(), columns, words=3)


def _answers(frames: Frames, found: pd.DataFrame) -> list[View]:
    if found.empty:
        return []
    columns: list[Column] = [
        ("backbone", "backbone"),
        ("question", "question"),
        ("answer", "answer"),
        ("difference", lambda one: mean_sd(one.difference, one.sd, number_of_runs(one.n, frames.repeats), "+")),
        ("95% interval", lambda one: span(one.low, one.high, "+")),
    ]
    return [view("What the comparisons say", found.itertuples(), columns, words=3)]
