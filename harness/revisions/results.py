"""The results of two commits, merged: which mAPs moved by how much, and which records and timings differ."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.base import paths
from harness.base.errors import UserError
from harness.config.params import Dcls
from harness.config.systems import LINEAR_BASELINE, MODELS
from harness.records import schemas
from harness.report import timing_frames
from harness.report.reading import Files
from harness.revisions.revision import Revision
from harness.scoring.metrics import bias_corrected

RESAMPLES = 2000
TEST_SET = ("kind", "clip_seconds", "test_mixtures", "mixture_seed")  # keys of `data` that choose the clips scored on
MADE_BY = (
    *("data_fingerprint", "code_fingerprint", "parameters", "versions"),
    *("device", "instruction_set", "precision", "processes", "threads"),
)
ONLY_A, ONLY_B, OTHER_SEEDS, OTHER_DATA = "only in A", "only in B", "other seeds", "other data"
OTHER_VERSION = "result files of another version"
FELL, ROSE, WITHIN, SAME = "fell", "rose", "within its interval", "unchanged"
RUNS = ("model", "seed", "mAP", "arm", "test_set")  # `arm`: half the width of the interval over clips
CHANGES = ("model", "verdict", "compared", "seeds", "mAP_a", "arm_a", "mAP_b", "arm_b", "difference", "low", "high")


@dataclass(frozen=True)
class PresetResults:
    """What a commit holds of a preset: a row a run (mAP in [0, 1]), a run and class, a record and key, a pair.

    `readable` is False, and all are empty, where the files are of another version than this code writes.
    """

    runs: pd.DataFrame
    classes: pd.DataFrame
    records: pd.DataFrame
    pairs: pd.DataFrame
    readable: bool


def read_results(revision: Revision, preset: str) -> PresetResults:
    """Raises UserError, naming commit and file, where one is damaged."""
    with revision.named_in_errors():
        files, folder = revision.files, paths.results(preset)
        readable = _is_readable(files, folder)
        below = files.below(folder) if readable else []
        scored = [path.parent for path in below if path.name == "metrics.json"]
        classes = [_classes(files, one) for one in scored]
        runs = [_run(files, one, found) for one, found in zip(scored, classes, strict=True)]
        records = [row for path in below if path.name in ("run.json", "evaluation.json") for row in _record(files, path)]
        comparison = folder / "comparison.json"
        pairs = files.json(comparison, schemas.Comparison).pairs if comparison in below else {}
        return PresetResults(
            pd.DataFrame(runs, columns=list(RUNS)),
            pd.concat([pd.DataFrame(columns=["model", "seed", "label", "AP"]), *classes], ignore_index=True),
            pd.DataFrame(records, columns=["file", "run", "key", "value"], dtype=object),
            pd.DataFrame([{"model": model, **_pair(pair)} for model, pair in pairs.items()], columns=["model", *PAIR]),
            readable,
        )


def read_timings(revision: Revision) -> pd.DataFrame:
    """By model, the timings that its tables show, of the DCLS parameters in its params.yaml.

    None where it has not timed all six models so. Raises UserError where a row is damaged.
    """
    with revision.named_in_errors():
        files, wanted = revision.files, revision.yaml("params.yaml").get("dcls")
        if files.read(paths.TIMED_DEVICE) is None or not isinstance(wanted, dict):
            return pd.DataFrame(columns=["model"])
        device = files.json(paths.TIMED_DEVICE, schemas.TimedDevice).device
        timings = timing_frames.all_timings(files)
    try:
        return timing_frames.fairest(timings, device, Dcls(**wanted))
    except (UserError, TypeError, ValueError):  # no such rows, or parameters of another version
        return timings.iloc[:0]


def map_changes(a: PresetResults, b: PresetResults) -> pd.DataFrame:
    """A row a model that either commit has scored, in the paper's order: CHANGES.

    Means are over the seeds that both have; `low` to `high` is the 95% interval of B - A, paired by seed and class. The
    model fell where B lies below A by more than A's half width. Not `compared`: `verdict` says why.
    """
    runs = a.runs.merge(b.runs, on=["model", "seed"], how="outer", suffixes=("_a", "_b"), indicator="found")
    classes = a.classes.merge(b.classes, on=["model", "seed", "label"], suffixes=("_a", "_b"))
    rows = [_change(runs[runs.model == one], classes[classes.model == one]) for one in in_order(runs.model)]
    found = pd.DataFrame(rows, columns=list(CHANGES))
    return found if a.readable and b.readable else found.assign(verdict=OTHER_VERSION, compared=False)


def record_changes(a: PresetResults, b: PresetResults) -> pd.DataFrame:
    """A row a key of the records and a change of it, in the runs that both commits have: record, A, B, results."""
    both = a.records.merge(b.records, on=["file", "run", "key"], how="outer", suffixes=("_a", "_b")).fillna("null")
    both = both[both.file.isin(a.records.file) & both.file.isin(b.records.file)]
    files = both.groupby("key").file.nunique()
    rows = []
    for (key, old, new), found in both[both.value_a != both.value_b].groupby(["key", "value_a", "value_b"]):
        where = "all" if len(found) == files[key] else ", ".join(_runs_in_short(list(found.run), set(b.records.run)))
        rows.append((key, old, new, where))
    return pd.DataFrame(rows, columns=["record", "A", "B", "results"])


def flat(value: Any, prefix: str = "") -> dict[str, str]:
    """Nested mappings as one with dotted keys, its values as JSON; lists are values."""
    if not isinstance(value, dict):
        return {prefix: json.dumps(value, default=str)}
    found: dict[str, str] = {}
    for key, inner in value.items():
        found |= flat(inner, f"{prefix}.{key}" if prefix else str(key))
    return found


def paired_interval(differences: np.ndarray) -> tuple[float, float]:
    """95% interval of the mean of (seeds, classes), from draws of both with replacement; seeded."""
    random = np.random.default_rng(0)
    over_seeds, over_classes = (
        random.multinomial(count, np.full(count, 1 / count), RESAMPLES) / count for count in differences.shape
    )
    drawn = ((over_seeds @ differences) * over_classes).sum(axis=1)
    return bias_corrected(float(differences.mean()), drawn)


def in_order(models: Iterable[str]) -> list[str]:
    """The paper's models first, then the linear baseline, then others by name."""
    known = [*MODELS, LINEAR_BASELINE]
    return sorted(set(models), key=lambda one: (known.index(one) if one in known else len(known), one))


def _change(runs: pd.DataFrame, classes: pd.DataFrame) -> dict[str, Any]:
    both = runs[runs.found == "both"]
    used = runs if both.empty else both
    row: dict[str, Any] = {"model": runs.model.iloc[0], "seeds": ", ".join(map(str, sorted(used.seed)))}
    row |= {name: used[name].mean() for name in ("mAP_a", "arm_a", "mAP_b", "arm_b")}
    row |= {"compared": False, "difference": row["mAP_b"] - row["mAP_a"]}
    if both.empty:
        only = [where for where, name in ((ONLY_A, "left_only"), (ONLY_B, "right_only")) if (runs.found == name).all()]
        return row | {"verdict": only[0] if only else OTHER_SEEDS}
    if (both.test_set_a != both.test_set_b).any():
        return row | {"verdict": OTHER_DATA}
    differences = classes.assign(difference=classes.AP_b - classes.AP_a)
    table = differences.pivot(index="seed", columns="label", values="difference").reindex(both.seed).dropna(axis=1)
    if table.size:  # both have a per_class.csv, with classes in common
        row["low"], row["high"] = paired_interval(table.to_numpy(float))
    return row | {"compared": True, "verdict": _verdict(row["difference"], row["arm_a"])}


def _verdict(difference: float, arm: float) -> str:
    if difference == 0:
        return SAME
    if abs(difference) <= arm:
        return WITHIN
    return FELL if difference < 0 else ROSE


def _is_readable(files: Files, folder: Path) -> bool:
    """Whether the files lie where this code writes them, and say that they are of its version."""
    for path in files.below(folder):
        of_older_layout = path.name == "metrics.json" and path.parent.name != "evaluation"
        if of_older_layout or path.name in ("comparison.json", "run.json", "evaluation.json"):
            if of_older_layout or files.mapping(path).get("schema_version") != schemas.SCHEMA_VERSION:
                return False
    return True


def _run(files: Files, folder: Path, classes: pd.DataFrame) -> dict[str, Any]:
    metrics = files.json(folder / "metrics.json", schemas.Metrics)
    record = folder / "evaluation.json"
    made_by = files.mapping(record) if files.read(record) is not None else {}
    data = made_by.get("parameters", {}).get("data", {})
    positives = classes[["label", "positives", "clips"]].to_numpy().tolist() if len(classes) else []
    test_set = [made_by.get("data_fingerprint"), *(data.get(key) for key in TEST_SET), positives]
    arm = (metrics.mAP_high - metrics.mAP_low) / 2
    return dict(zip(RUNS, (*_model_and_seed(folder), metrics.mAP, arm, json.dumps(test_set)), strict=True))


def _classes(files: Files, folder: Path) -> pd.DataFrame:
    path = folder / "per_class.csv"
    if files.read(path) is None:
        return pd.DataFrame()
    model, seed = _model_and_seed(folder)
    return files.csv(path, schemas.PER_CLASS, text=("label",)).assign(model=model, seed=seed)


def _record(files: Files, path: Path) -> list[dict[str, str]]:
    content = files.mapping(path)
    known = {"file": str(path), "run": path.parent.parent.name}
    return [
        known | {"key": key, "value": value}
        for key, value in flat({name: content[name] for name in MADE_BY if name in content}).items()
    ]


PAIR = ("mean", "low", "high", "in_words")


def _pair(pair: schemas.Pair) -> dict[str, Any]:
    """The verdict of one seed is on its weights alone."""
    words = pair.verdict if pair.n > 1 else pair.verdict_for_these_weights
    for_these = " for these weights" if pair.n == 1 and words in ("higher", "lower") else ""
    return {"mean": pair.mean, "low": pair.low, "high": pair.high, "in_words": f"{words}{for_these}"}


def _model_and_seed(folder: Path) -> tuple[str, int]:
    """Of results/PRESET/runs/MODEL-SEED/evaluation."""
    model, _, seed = folder.parent.name.rpartition("-")
    if not seed.isdecimal():
        raise UserError(f"{folder.parent}: its name does not end in a seed; name another commit")
    return model, int(seed)


def _runs_in_short(names: list[str], known: set[str]) -> dict[str, None]:
    """Names of runs; that of the model alone where it is all of its seeds."""
    found: dict[str, None] = {}
    for name in names:
        model = name.rpartition("-")[0]
        seeds = {other for other in known if other.rpartition("-")[0] == model}
        found[model if seeds <= set(names) else name] = None
    return found
