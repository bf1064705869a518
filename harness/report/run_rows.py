"""A run as a row: its metrics, and what its records say of how it was trained and scored."""

from __future__ import annotations

import math
from typing import Any

from harness.base import paths
from harness.config.systems import LINEAR_BASELINE
from harness.records import schemas
from harness.report.reading import Files

TRAINED_WITH = ("scale", "start", "depths", "widths")  # of parameters.model
KERNELS = ("kernel_count", "dilated_kernel_size", "version", "position_std", "position_rate")  # of its `dcls`


def run_row(files: Files, preset: str, model: str, seed: int) -> dict[str, Any]:
    """Raises UserError, naming the file, where one is missing or damaged."""
    folder = paths.evaluation_results(preset, model, seed)
    metrics = files.json(folder / "metrics.json", schemas.Metrics)
    scored = files.record(folder / "evaluation.json")
    row = {"model": model, "seed": seed, **metrics.model_dump()}
    row |= {"metrics_file": str(folder / "metrics.json"), "evaluation_file": str(folder / "evaluation.json")}
    row |= {"evaluation_code": code_name(scored), "evaluation_device": scored.device, "training_file": math.nan}
    data = scored.parameters["data"]
    row |= {"data_fingerprint": scored.data_fingerprint, "data": data["kind"], "clip_seconds": data["clip_seconds"]}
    if model == LINEAR_BASELINE:
        return row
    trained = training_record(files, preset, model, seed)
    row |= {"training_file": str(paths.training_results(preset, model, seed) / "run.json")}
    row |= {"training_code": code_name(trained), "training_device": trained.device, "precision": trained.precision}
    model_parameters = trained.parameters["model"]
    row |= {name: model_parameters[name] for name in (*TRAINED_WITH, "kernel_size")}
    row |= dict.fromkeys(KERNELS, math.nan) | (model_parameters["dcls"] or {})
    row |= {"epochs": trained.parameters["schedule"]["epochs"]}
    row |= {"batch": trained.parameters["train"]["batch"], "threads": trained.threads}
    return row | {"classes_trained": trained.classes, "trained_parameters": trained.trained_parameters}


def training_record(files: Files, preset: str, model: str, seed: int) -> schemas.TrainingRecord:
    return files.json(paths.training_results(preset, model, seed) / "run.json", schemas.TrainingRecord)


def code_name(record: schemas.Record) -> str:
    """What the tables call the code of a result: the head of its fingerprint, or of an older one's revision."""
    if record.code_fingerprint:
        return f"code {record.code_fingerprint[:10]}"
    return f"revision {str(record.revision)[:10]}"
