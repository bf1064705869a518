"""Average precision class by class: every model's mean over its runs, and the difference to its baseline's."""

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
    "The difference is the system minus its baseline in percentage points, with its 95% interval over clips (paired "
    "bootstrap, for these weights; none for a class of few positives). Where nothing differs, one interval in twenty "
    "leaves out 0 all the same.",
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
    columns += [f"{model}_{name}" for model, _ in _pairs(frames) for name in DIFFERENCE]
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


def _pairs(frames: Frames) -> list[tuple[str, str]]:
    """Fair pairs of a system and its baseline."""
    fair = frames.to_baselines[frames.to_baselines.unfair == ""]
    return list(zip(fair.model, fair.baseline, strict=True))


def _compared(frames: Frames, labels: list[str]) -> pd.DataFrame:
    """The differences of these classes, in percentage points. Raises UserError where one is missing."""
    wanted = [(*pair, label) for pair, label in product(_pairs(frames), labels)]
    if not wanted:
        return pd.DataFrame(columns=["model"])
    found = frames.class_differences.set_index(["model", "baseline", "label"], drop=False)
    for model, _, label in (one for one in wanted if one not in found.index):
        path = paths.results(frames.preset) / "per_class_difference.csv"
        raise UserError(f"{path}: no row of {model} and {label!r}; run `compare-models` again")
    found = found.loc[wanted].reset_index(drop=True)
    return found.assign(**{name: 100 * found[name] for name in DIFFERENCE})


def _view(frames: Frames, rows: list[dict[str, Any]], backbone: str) -> View:
    """Of one backbone, so that it is narrow enough for a page: its models, and the main one's difference."""
    models = [model for model in frames.models if frames.backbone(model) == backbone]
    pair = next((model for model, _ in frames.headline_pairs if model in models), None)
    header = ("class", "positives", *models, *((f"{pair} - baseline", "95% interval") if pair else ()))
    cells = []
    for row in rows:
        line = [row["label"], number(row["positives"], "d")]
        line += [mean_sd(row[f"{model}_AP"], row[f"{model}_AP_sd"]) for model in models]
        if pair:
            difference, low, high = (row[f"{pair}_{name}"] for name in DIFFERENCE)
            line += [number(difference, "+.2f"), span(low, high, "+")]
        cells.append(tuple(line))
    return View(f"AP by class, {backbone}", header, tuple(cells))
