"""A run as a row, with what its records say of it; and the comparisons of systems, held against the runs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from harness.base import paths
from harness.base.errors import UserError
from harness.config.systems import LINEAR_BASELINE, System
from harness.records import schemas
from harness.report.reading import WORKING_TREE as FILES

BUILT = ("scale", "start", "depths", "widths", "kernel_size")  # of parameters.model
KERNELS = ("kernel_count", "dilated_kernel_size", "version", "position_std", "position_rate")  # of its `dcls`


def run_row(preset: str, model: str, seed: int) -> dict[str, Any]:
    """Raises UserError, naming the file, where one is missing or damaged."""
    folder = paths.evaluation_results(preset, model, seed)
    metrics = FILES.json(folder / "metrics.json", schemas.Metrics)
    scored = FILES.record(folder / "evaluation.json")
    data = scored.parameters["data"]
    row = {
        "model": model,
        "seed": seed,
        **metrics.model_dump(),
        "metrics_file": str(folder / "metrics.json"),
        "evaluation_file": str(folder / "evaluation.json"),
        "evaluation_code": code_name(scored),
        "evaluation_device": scored.device,
        "training_file": math.nan,
        "data_fingerprint": scored.data_fingerprint,
        "data": data["kind"],
        "clip_seconds": data["clip_seconds"],
    }
    if model == LINEAR_BASELINE:
        return row
    training = paths.training_results(preset, model, seed) / "run.json"
    trained = FILES.json(training, schemas.TrainingRecord)
    built = trained.parameters["model"]
    return {
        **row,
        "training_file": str(training),
        "training_code": code_name(trained),
        "training_device": trained.device,
        "precision": trained.precision,
        **{name: built[name] for name in BUILT},
        **(dict.fromkeys(KERNELS, math.nan) | (built["dcls"] or {})),
        "epochs": trained.parameters["schedule"]["epochs"],
        "batch": trained.parameters["train"]["batch"],
        "threads": trained.threads,
        "classes_trained": trained.classes,
        "trained_parameters": trained.trained_parameters,
    }


def code_name(record: schemas.Record) -> str:
    """What the tables call the code of a result: the head of its fingerprint, or of an older one's revision."""
    if record.code_fingerprint:
        return f"code {record.code_fingerprint[:10]}"
    return f"revision {str(record.revision)[:10]}"


def checked_pairs(path: Path, systems: Mapping[str, System], maps: Mapping[str, pd.Series]) -> list[schemas.Pair]:
    """What compare-models wrote of every system and those that it is compared with; `maps` are mAPs in [0, 1] by seed.

    Raises UserError where one is missing, or is no difference of these mAPs.
    """
    compared = {(pair.model, pair.baseline): pair for pair in FILES.json(path, schemas.Comparison).pairs}
    wanted = [(name, other) for name, one in systems.items() for other in one.compared_with if other in systems]
    for model, other in wanted:
        if (model, other) not in compared:
            raise UserError(f"{path}: no {model!r} against {other!r} in it; run `compare-models` again")
        expected = (maps[model] - maps[other]).to_dict()
        given = {int(seed): difference for seed, difference in compared[model, other].differences.items()}
        if set(given) != set(expected) or any(abs(given[seed] - expected[seed]) > 1e-9 for seed in given):
            raise UserError(f"{path}: {model} is of other runs than those in results; run `compare-models` again")
    return [compared[pair] for pair in wanted]
