"""Average precision class by class: every model's mean over its runs, and DCLS minus baseline with its interval."""

from __future__ import annotations

from itertools import product
from typing import Any

import pandas as pd

from harness.base import paths
from harness.base.errors import UserError
from harness.data.clips.splits import folds_of
from harness.report.frames import Frames
from harness.report.made_by import MadeBy
from harness.report.paper_tables.numbers import mean_sd, number, span
from harness.report.paper_tables.table import Table, View, as_frame, cells_from

DIFFERENCE = ("difference", "low", "high")
NOTES = (
    "Average precision in percent, the mean over the runs of a model that have a positive of the class; ± is the "
    "standard deviation over them. Positives are counted once for each set of test clips.",
    "The difference is DCLS minus baseline in percentage points, with its 95% interval over clips (paired bootstrap, "
    "for these weights; none for a class of few positives). Where nothing differs, one interval in twenty leaves out 0 "
    "all the same.",
)


def per_class(frames: Frames, by: MadeBy) -> Table:
    """A row a class, in the order of the data set's labels. Raises UserError where a per_class.csv has other classes
    than the others, or a difference is missing."""
    lines = frames.per_class.assign(percent=100 * frames.per_class.AP)
    tested = lines[lines.model == frames.models[0]]
    sets = tested.seed.map(lambda seed: tuple(folds_of("test", seed)) if frames.folds else ())
    counted = tested[tested.seed.isin(tested.groupby(sets).seed.last())]  # each set of test clips once
    parts = [
        cells_from(tested, "label", (), {"label": "label"}),
        cells_from(counted, "label", ["source"], {"positives": lambda one: int(one.positives.sum())}),
    ]
    for model, runs in lines.groupby("model", sort=False):
        mean_and_sd = {f"{model}_AP": lambda one: one.percent.mean(), f"{model}_AP_sd": lambda one: one.percent.std()}
        parts.append(cells_from(runs, "label", ["source"], mean_and_sd))
    for model, pairs in _compared(frames, _labels(lines)).groupby("model", sort=False):
        parts.append(cells_from(pairs, "label", ["source"], {f"{model}_{name}": name for name in DIFFERENCE}))
    cells = pd.concat(parts)
    columns = ["label", "positives", *(f"{model}_AP{sd}" for model in lines.model.unique() for sd in ("", "_sd"))]
    columns += [f"{model}_{name}" for model in frames.comparisons.model for name in DIFFERENCE]
    rows = as_frame(cells, columns).to_dict("records")
    return Table(
        name="per_class",
        title="Average precision by class",
        cells=cells,
        columns=tuple(columns),
        views=tuple(_view(frames, rows, backbone) for backbone in dict.fromkeys(map(frames.backbone, frames.models))),
        facts=(("Results", by.line),),
        warnings=by.warnings,
        notes=NOTES,
        same_files=True,
    )


def _labels(lines: pd.DataFrame) -> list[str]:
    first = lines.source.iloc[0]
    labels = list(lines[lines.source == first].label)
    for source, one in lines.groupby("source", sort=False):
        if list(one.label) != labels:
            raise UserError(f"{source}: other classes than {first}; run `evaluate` of both again")
    return labels


def _compared(frames: Frames, labels: list[str]) -> pd.DataFrame:
    """The differences of these classes, in percentage points. Raises UserError where one is missing."""
    if frames.comparisons.empty:
        return pd.DataFrame(columns=["model"])
    found = frames.class_differences
    there = set(zip(found.model, found.label, strict=True))
    for wanted in product(frames.comparisons.model, labels):
        if wanted not in there:
            path = paths.results(frames.preset) / "per_class_difference.csv"
            raise UserError(f"{path}: no row of {wanted[0]} and {wanted[1]!r}; run `compare-models` again")
    return found[found.label.isin(labels)].assign(**{name: 100 * found[name] for name in DIFFERENCE})


def _view(frames: Frames, rows: list[dict[str, Any]], backbone: str) -> View:
    """Of one backbone, so that it is narrow enough for a page."""
    models = [model for model in frames.models if frames.backbone(model) == backbone]
    compared = [model for model in models if model in set(frames.comparisons.model)]
    differences = (f"{frames.systems[model].method} - baseline (95% interval)" for model in compared)
    header = ("class", "positives", *models, *differences)
    cells = []
    for row in rows:
        line = [row["label"], number(row["positives"], "d")]
        line += [mean_sd(row[f"{model}_AP"], row[f"{model}_AP_sd"]) for model in models]
        for model in compared:
            difference, low, high = (row[f"{model}_{name}"] for name in DIFFERENCE)
            line.append(f"{number(difference, '+.2f')} ({span(low, high, '+')})")
        cells.append(tuple(line))
    return View(f"AP by class, {backbone}", header, tuple(cells))
