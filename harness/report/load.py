"""Result files of a preset, read and checked. Needs the standard library only, so that `show` starts at once."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import paths
from harness.errors import UserError
from harness.files import read_json
from harness.params import MODELS, Params, baseline_of
from harness.provenance import SCHEMA_VERSION

LINEAR_BASELINE = "linear_baseline"
CLASS_COUNTS = ("527", "1000")  # AudioSet's, and the head that the paper's parameter column counts
METRICS = ("mAP", "mAP_low", "mAP_high", "prevalence", "clips", "classes", "classes_left_out")
PROVENANCE = ("parameters", "data_fingerprint", "code", "versions", "device", "precision")
TIMES = ("parameters", "throughput", "throughput_low", "throughput_high", "speed_relative_to_counterpart")


@dataclass(frozen=True)
class Published:
    """A row of the paper's Table 1: mAP in percent, parameters in millions, throughput in samples/s."""

    model: str
    backbone: str
    method: str
    kernel_size: str
    kernel_count: int
    params_millions: float
    map_mean: float
    map_std: float
    throughput: float
    imagenet: bool


@dataclass(frozen=True)
class Run:
    """A trained model, scored: metrics.json (mAP in [0, 1]), evaluation.json, and run.json of the training."""

    model: str
    seed: int
    metrics: dict[str, Any]
    evaluation: dict[str, Any]
    training: dict[str, Any]


@dataclass(frozen=True)
class Timing:
    """Times of a full-size model, by number of classes (`527`, `1000`), and what made them."""

    model: str
    classes: dict[str, dict[str, float]]
    record: dict[str, Any]


@dataclass(frozen=True)
class Results:
    """All that the reports say, models in the paper's order, runs in the order of params.seeds."""

    preset: str
    models: tuple[str, ...]
    seeds: tuple[int, ...]
    published: dict[str, Published]
    runs: dict[str, tuple[Run, ...]]
    timings: dict[str, Timing]
    linear_metrics: dict[str, Any]
    linear_record: dict[str, Any]

    def records(self) -> Iterable[tuple[str, dict[str, Any]]]:
        """(file under results/PRESET, provenance) of every result but the timings."""
        for model in self.models:
            for run in self.runs[model]:
                folder = paths.result(self.preset, model, run.seed).relative_to(paths.results(self.preset))
                yield f"{folder}/run.json", run.training
                yield f"{folder}/evaluation.json", run.evaluation
        yield f"{LINEAR_BASELINE}/evaluation.json", self.linear_record

    def timing_records(self) -> Iterable[tuple[str, dict[str, Any]]]:
        """(file under results/PRESET, provenance) of every timing."""
        for model in self.models:
            yield f"throughput/{model}.run.json", self.timings[model].record


def load_results(params: Params) -> Results:
    """Read what training, evaluation and throughput wrote for the models and seeds of `params`.

    Raises UserError, naming the file, where one is missing, is no JSON, or lacks a key.
    """
    models = in_the_papers_order(params)
    folder = paths.results(params.preset)
    return Results(
        preset=params.preset,
        models=models,
        seeds=params.seeds,
        published=load_published(models),
        runs={model: tuple(_run(params.preset, model, seed) for seed in params.seeds) for model in models},
        timings={model: _timing(folder / "throughput", model) for model in models},
        linear_metrics=_mapping(folder / LINEAR_BASELINE / "metrics.json", METRICS),
        linear_record=_record(folder / LINEAR_BASELINE / "evaluation.json"),
    )


def table_folder(preset: str) -> Path:
    """Where the tables of a preset lie, beside the published one."""
    return paths.PUBLISHED.parent / preset


def read_text(path: Path) -> str:
    """Raises UserError, naming the file, where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise UserError(f"{path}: missing; run the stage that writes it (`dvc repro` runs all)") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error}); delete it and run its stage again") from error


def in_the_papers_order(params: Params) -> tuple[str, ...]:
    return tuple(model for model in MODELS if model in params.models)


def is_dcls(model: str) -> bool:
    return baseline_of(model) != model


def load_published(models: tuple[str, ...]) -> dict[str, Published]:
    """All rows of the paper's table, by model.

    Raises UserError where the file is missing, or lacks the row of one of `models` or of its baseline.
    """
    table = {}
    for row in read_rows(paths.PUBLISHED):
        try:
            table[row["model"]] = Published(
                model=row["model"],
                backbone=row["backbone"],
                method=row["method"],
                kernel_size=row["kernel_size"],
                kernel_count=int(row["kernel_count"]),
                params_millions=float(row["params_millions"]),
                map_mean=float(row["map_mean"]),
                map_std=float(row["map_std"]),
                throughput=float(row["throughput_samples_per_s"]),
                imagenet=row["imagenet_pretraining"] == "yes",
            )
        except (KeyError, ValueError) as error:
            raise UserError(f"{paths.PUBLISHED}: row {row}: {error}; restore the file from Git") from error
    for model in [*models, *map(baseline_of, models)]:
        if model not in table:
            raise UserError(f"{paths.PUBLISHED}: no row for {model}; restore the file from Git")
    return table


def read_rows(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV by column name. Raises UserError, naming the file, where it cannot be read."""
    return list(csv.DictReader(read_text(path).splitlines(), restval=""))


def read_numbers(path: Path, columns: tuple[str, ...]) -> list[tuple[float, ...]]:
    """The named columns of a CSV, row by row. Raises UserError where one is missing or holds no number."""
    rows = read_rows(path)
    try:
        return [tuple(float(row[name]) for name in columns) for row in rows]
    except KeyError as error:
        raise UserError(f"{path}: no column {error}; delete it and run its stage again") from error
    except ValueError as error:
        raise UserError(f"{path}: {error}; delete it and run its stage again") from error


def _run(preset: str, model: str, seed: int) -> Run:
    folder = paths.result(preset, model, seed)
    return Run(
        model,
        seed,
        _mapping(folder / "metrics.json", METRICS),
        _record(folder / "evaluation.json"),
        _record(folder / "run.json", ("trained_parameters", "threads")),
    )


def _timing(folder: Path, model: str) -> Timing:
    path = folder / f"{model}.json"
    classes = _mapping(path, ("classes",))["classes"]
    for count in CLASS_COUNTS:
        _require(path, classes, (count,))
        _require(path, classes[count], TIMES)
    return Timing(model, classes, _record(folder / f"{model}.run.json", ("input_shape", "threads", "hardware")))


def _record(path: Path, more: tuple[str, ...] = ()) -> dict[str, Any]:
    record = _mapping(path, ("schema_version", *PROVENANCE, *more))
    if record["schema_version"] != SCHEMA_VERSION:
        raise UserError(f"{path}: schema version {record['schema_version']}, not {SCHEMA_VERSION}; run its stage again")
    return record


def _mapping(path: Path, keys: tuple[str, ...]) -> dict[str, Any]:
    value = read_json(path)
    _require(path, value, keys)
    return value


def _require(path: Path, value: Any, keys: tuple[str, ...]) -> None:
    for key in keys:
        if not isinstance(value, dict) or key not in value:
            raise UserError(f"{path}: no {key!r} in it; another version wrote it, run its stage again")
