"""What table 1 is the mean of: the mAP of every run, and average precision class by class."""

from __future__ import annotations

from itertools import product
from typing import Any

import pandas as pd

from harness.base import paths
from harness.base.errors import UserError
from harness.data.clips.splits import folds_of
from harness.report.frames import DIFFERENCE, Frames
from harness.report.made_by import MadeBy
from harness.report.paper_tables.numbers import NONE, mean_sd, number, span
from harness.report.paper_tables.table import Part, Table, View, as_frame, cells_from

PER_SEED = ("model", "seed", "fold", "test_clips", "map", "map_low", "map_high")
NOTES = (
    "Average precision in percent, the mean over the runs of a model that have a positive of the class; ± is the "
    "standard deviation over them. Positives are counted once for each set of test clips.",
    "The difference is the system minus its baseline in percentage points, with its 95% interval over clips (paired "
    "bootstrap, for these weights; none for a class of few positives). Where nothing differs, one interval in twenty "
    "leaves out 0 all the same.",
)


def per_seed(frames: Frames, by: MadeBy) -> Table:
    """A row a run of the models and of the linear baseline: mAP in percent; `fold` is empty where there are none."""
    fold = {seed: next(iter(folds_of("test", seed))) if frames.folds else "" for seed in frames.runs.seed}
    percent = {name.lower(): 100 * frames.runs[name] for name in ("mAP", "mAP_low", "mAP_high")}
    runs = frames.runs.assign(**percent, fold=frames.runs.seed.map(fold), test_clips=frames.runs.clips)
    runs["run"] = runs.model + "-" + runs.seed.astype(str)
    runs["text"] = [f"{one.map:.2f} ({span(one.map_low, one.map_high)})" for one in runs.itertuples()]
    text = runs.pivot(index="model", columns="seed", values="text")
    text = text.reindex(index=runs.model.unique(), columns=list(frames.seeds)).fillna(NONE)
    header = ("model", *(", ".join(filter(None, (fold[seed], f"seed {seed}"))) for seed in frames.seeds))
    caption = "Test mAP in percent (95% interval over clips) by seed"
    return Table(
        name="per_seed",
        title="Test mAP in percent by seed",
        cells=cells_from("run", (runs, (), PER_SEED[:3]), (runs, ["metrics_file"], PER_SEED[3:])),
        columns=PER_SEED,
        views=(View(caption, header, tuple(text.itertuples(name=None))),),
        facts=(("Results", by.line),),
        warnings=by.warnings,
    )


def per_class(frames: Frames, by: MadeBy) -> Table:
    """A row a class, in the order of the data set's labels. Raises UserError where a per_class.csv has other classes
    than the others, or a difference is missing."""
    lines = frames.per_class.assign(percent=100 * frames.per_class.AP)
    tested = lines[lines.model == frames.models[0]]
    sets = tested.seed.map(lambda seed: tuple(folds_of("test", seed)) if frames.folds else ())
    counted = tested[tested.seed.isin(tested.groupby(sets).seed.last())]  # each set of test clips once
    parts: list[Part] = [
        (tested, (), ["label"]),
        (counted, ["source"], {"positives": lambda one: int(one.positives.sum())}),
    ]
    columns = ["label", "positives"]
    for model, runs in lines.groupby("model", sort=False):
        columns += [f"{model}_AP", f"{model}_AP_sd"]
        mean_and_sd = (lambda one: one.percent.mean(), lambda one: one.percent.std())
        parts.append((runs, ["source"], dict(zip(columns[-2:], mean_and_sd, strict=True))))
    for model, pairs in _compared(frames, _labels(lines)).groupby("model", sort=False):
        columns += [f"{model}_{name}" for name in DIFFERENCE]
        parts.append((pairs, ["source"], dict(zip(columns[-3:], DIFFERENCE, strict=True))))
    cells = cells_from("label", *parts)
    rows = as_frame(cells, columns).to_dict("records")
    return Table(
        name="per_class",
        title="Average precision by class",
        cells=cells,
        columns=tuple(columns),
        views=tuple(_view(frames, rows, backbone) for backbone in frames.by_backbone),
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
    """The differences of these classes. Raises UserError where one is missing."""
    found = frames.differences_by_class(frames.fair_pairs)
    there = set(zip(found.model, found.label, strict=True))
    for (model, _), label in product(frames.fair_pairs, labels):
        if (model, label) not in there:
            path = paths.results(frames.preset) / "per_class_difference.csv"
            raise UserError(f"{path}: no row of {model} and {label!r}; run `compare-models` again")
    return found[found.label.isin(labels)]


def _view(frames: Frames, rows: list[dict[str, Any]], backbone: str) -> View:
    """Of one backbone, so that it is narrow enough for a page: its models, and the main one's difference."""
    models = frames.by_backbone[backbone]
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
