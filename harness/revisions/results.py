"""The results of two commits, merged: which mAPs moved and by how much, and which records differ."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.base import paths
from harness.base.errors import UserError
from harness.config.systems import LINEAR_BASELINE, PAPER
from harness.records import schemas
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
CHANGES = ("model", "verdict", "compared", "seeds", "mAP_a", "arm_a", "mAP_b", "arm_b", "difference", "low", "high")


@dataclass(frozen=True)
class PresetResults:
    """What a commit holds of a preset. All is empty where its files are not `readable`: of another version.

    `runs` has a row a run: its mAP in [0, 1], half the width of its interval over clips as `arm`, and its test set;
    `classes` a row a run and class; `records` a row a record and key; `pairs` are those of comparison.json,
    by `system - other`.
    """

    runs: pd.DataFrame
    classes: pd.DataFrame
    records: pd.DataFrame
    pairs: dict[str, schemas.Pair]
    readable: bool


def read_results(revision: Revision, preset: str) -> PresetResults:
    """Raises UserError, naming commit and file, where one is damaged."""
    files, folder = revision.files, paths.results(preset)
    runs, classes, records = [], [pd.DataFrame(columns=["model", "seed", "label", "AP"])], []
    pairs: dict[str, schemas.Pair] = {}
    with revision.errors_name_it():
        readable = _is_readable(files, folder)
        for path in files.below(folder) if readable else []:
            if path.name == "metrics.json":
                run, found = _run(files, path)
                runs.append(run)
                classes.append(found)
            elif path.name == "comparison.json":
                found_pairs = files.json(path, schemas.Comparison).pairs
                pairs = {f"{pair.model} - {pair.baseline}": pair for pair in found_pairs}
            elif path.suffix == ".json":
                content = flat({key: one for key, one in files.mapping(path).items() if key in MADE_BY})
                records += [(str(path), path.parts[-3], *one) for one in content.items()]
    return PresetResults(
        pd.DataFrame(runs, columns=["model", "seed", "mAP", "arm", "test_set"]),
        pd.concat(classes, ignore_index=True),
        pd.DataFrame(records, columns=["file", "run", "key", "value"], dtype=object),
        pairs,
        readable,
    )


def map_changes(a: PresetResults, b: PresetResults) -> pd.DataFrame:
    """A row a model that either commit has scored, in the paper's order: CHANGES.

    Means are over the seeds that both have; `low` to `high` is the 95% interval of B - A, paired by seed and class. The
    model fell where B lies below A by more than A's half width. Not `compared`: `verdict` says why.
    """
    runs = a.runs.merge(b.runs, on=["model", "seed"], how="outer", suffixes=("_a", "_b"), indicator="found")
    classes = a.classes.merge(b.classes, on=["model", "seed", "label"], suffixes=("_a", "_b"))
    models = in_order(runs.model)
    if a.readable and b.readable:
        rows = [_change(runs[runs.model == one], classes[classes.model == one]) for one in models]
    else:
        rows = [{"model": one, "verdict": OTHER_VERSION, "compared": False} for one in models or ["all models"]]
    return pd.DataFrame(rows, columns=list(CHANGES)).astype({"compared": bool})


def record_changes(a: PresetResults, b: PresetResults) -> list[tuple[str, str, str, str]]:
    """(key, A, B, which runs) of each change in the records that both commits have; values are JSON."""
    both = a.records.merge(b.records, on=["file", "run", "key"], how="outer", suffixes=("_a", "_b")).fillna("null")
    both = both[both.file.isin(a.records.file) & both.file.isin(b.records.file)]
    files, rows = both.groupby("key").file.nunique(), []
    for (key, old, new), found in both[both.value_a != both.value_b].groupby(["key", "value_a", "value_b"]):
        where = "all" if len(found) == files[key] else _in_short(set(found.run), set(b.records.run))
        rows.append((key, old, new, where))
    return rows


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
    known = [*PAPER, LINEAR_BASELINE]
    return sorted(set(models), key=lambda one: (known.index(one) if one in known else len(known), one))


def _change(runs: pd.DataFrame, classes: pd.DataFrame) -> dict[str, Any]:
    both = runs[runs.found == "both"]
    used = runs if both.empty else both
    row: dict[str, Any] = {"model": runs.model.iloc[0], "seeds": ", ".join(map(str, sorted(used.seed)))}
    row |= dict(used[["mAP_a", "arm_a", "mAP_b", "arm_b"]].mean())
    row |= {"compared": False, "difference": row["mAP_b"] - row["mAP_a"]}
    if both.empty:
        only = {"left_only": ONLY_A, "right_only": ONLY_B}.get(str(runs.found.iloc[0]), "")
        return row | {"verdict": only if runs.found.nunique() == 1 else OTHER_SEEDS}
    if (both.test_set_a != both.test_set_b).any():
        return row | {"verdict": OTHER_DATA}
    differences = classes.assign(difference=classes.AP_b - classes.AP_a)
    table = differences.pivot(index="seed", columns="label", values="difference").reindex(both.seed).dropna(axis=1)
    if table.size:  # both have a per_class.csv, with classes in common
        row["low"], row["high"] = paired_interval(table.to_numpy(float))
    moved = ROSE if row["difference"] > 0 else FELL
    within = SAME if row["difference"] == 0 else WITHIN
    return row | {"compared": True, "verdict": within if abs(row["difference"]) <= row["arm_a"] else moved}


def _is_readable(files: Files, folder: Path) -> bool:
    """Whether the files lie where this code writes them, and say that they are of its version."""
    metrics = [path for path in files.below(folder) if path.name == "metrics.json"]
    others = [path for path in files.below(folder) if path.suffix == ".json" and path not in metrics]
    return all(path.parent.name == "evaluation" for path in metrics) and all(
        files.mapping(path).get("schema_version") == schemas.SCHEMA_VERSION for path in others
    )


def _run(files: Files, path: Path) -> tuple[tuple[Any, ...], pd.DataFrame]:
    """The row of a run's metrics.json, and its classes."""
    model, _, seed = path.parts[-3].rpartition("-")
    if not seed.isdecimal():
        raise UserError(f"{path}: its folder's name does not end in a seed")
    metrics, record = files.json(path, schemas.Metrics), path.with_name("evaluation.json")
    if not math.isfinite(metrics.mAP):
        raise UserError(f"{path}: mAP is {metrics.mAP}, not a finite number")
    made_by = files.mapping(record) if files.read(record) is not None else {}
    table, classes = path.with_name("per_class.csv"), pd.DataFrame(columns=list(schemas.PER_CLASS))
    if files.read(table) is not None:
        classes = files.csv(table, schemas.PER_CLASS, text=("label",))
    data = made_by.get("parameters", {}).get("data", {})
    positives = classes[["label", "positives", "clips"]].values.tolist()
    test_set = json.dumps([made_by.get("data_fingerprint"), *(data.get(key) for key in TEST_SET), positives])
    run = (model, int(seed), metrics.mAP, (metrics.mAP_high - metrics.mAP_low) / 2, test_set)
    return run, classes.assign(model=model, seed=int(seed))


def _in_short(names: set[str], known: set[str]) -> str:
    """Names of runs; that of the model alone where it is all of its seeds."""
    found = set()
    for name in names:
        model = name.rpartition("-")[0]
        found.add(model if {one for one in known if one.rpartition("-")[0] == model} <= names else name)
    return ", ".join(in_order(found))
