"""Result files of a preset, read and checked. Needs the standard library only, so that `show` starts at once."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.base import paths
from harness.base.errors import UserError
from harness.base.files import read_json
from harness.config.params import Params
from harness.config.systems import LINEAR_BASELINE, MODELS, baseline_of
from harness.data.clips.splits import folds_of
from harness.records.schemas import SCHEMA_VERSION
from harness.report.selection import Selection
from harness.report.timings import Timing, load_timings
from harness.throughput.device import timings_file

METRICS = ("mAP", "mAP_low", "mAP_high", "prevalence", "clips", "classes", "classes_left_out")
PROVENANCE = ("parameters", "data_fingerprint", "code", "versions", "device", "precision")
COMPARED = ("differences", "mean", "sd", "n", "clips_low", "clips_high", "low", "high")
VERDICTS = ("verdict", "verdict_for_these_weights")


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
    """A trained model, scored: metrics.json (mAP in [0, 1]), evaluation.json, and run.json of the training.

    The linear baseline is trained where it is scored, and its `training` is empty.
    """

    model: str
    seed: int
    metrics: dict[str, Any]
    evaluation: dict[str, Any]
    training: dict[str, Any]


@dataclass(frozen=True)
class Reference:
    """A system that no run of this pipeline scored: mAP and its standard deviation in [0, 1], over n of them."""

    name: str
    map_mean: float
    map_sd: float | None
    n: int | None
    source: str


@dataclass(frozen=True)
class Results:
    """All that the reports say, models in the paper's order, runs in the order of params.seeds.

    `timings` are the fairest of each model (see `timings.fairest`) on the current machine; `linear` are the runs of the
    linear baseline; `compared` are the pairs of comparison.json by DCLS model;
    `coverage` is how many clips are listed and there in each split, where data.json has it.
    """

    preset: str
    models: tuple[str, ...]
    seeds: tuple[int, ...]
    published: dict[str, Published]
    runs: dict[str, tuple[Run, ...]]
    timings: dict[str, Timing]
    linear: tuple[Run, ...]
    compared: dict[str, dict[str, Any]]
    compared_record: dict[str, Any]
    coverage: dict[str, dict[str, int | None]]
    references: tuple[Reference, ...]

    @property
    def kind(self) -> str:
        """Where the clips come from, as in the parameters."""
        return str(self.scored[0].evaluation["parameters"]["data"]["kind"])

    @property
    def scored(self) -> tuple[Run, ...]:
        """A run of each seed, to ask about the test clips, which all models share."""
        return self.runs[self.models[0]]

    @property
    def folds(self) -> dict[str, int]:
        """Test clips by fold where seeds test on folds; empty where all test on the same clips."""
        if self.kind != "esc10":
            return {}
        return {name: run.metrics["clips"] for run in self.scored for name in folds_of("test", run.seed)}

    @property
    def repeats(self) -> str:
        """What the runs of a model differ in: `seeds`, or `folds` where each seed has a fold of its own."""
        return "folds" if len(self.folds) == len(self.seeds) else "seeds"

    def records(self) -> Iterable[tuple[str, dict[str, Any]]]:
        """(file under results/PRESET, provenance) of every result but the timings."""
        for model in self.models:
            for run in self.runs[model]:
                folder = paths.run_results(self.preset, model, run.seed).relative_to(paths.results(self.preset))
                yield f"{folder}/training/run.json", run.training
                yield f"{folder}/evaluation/evaluation.json", run.evaluation
        for run in self.linear:
            yield f"runs/{LINEAR_BASELINE}-{run.seed}/evaluation/evaluation.json", run.evaluation
        if self.compared:
            yield "comparison.run.json", self.compared_record

    def timing_records(self) -> Iterable[tuple[str, dict[str, Any]]]:
        """(device's file and model, provenance) of every timing."""
        for model in self.models:
            timing = self.timings[model]
            yield f"{timings_file(timing.condition.device)} ({model})", timing.record


def load_results(params: Params | Selection) -> Results:
    """Read what training, evaluation, comparison and throughput wrote for the models and seeds of `params`.

    Raises UserError, naming the file, where one is missing, is no JSON, lacks a key, or is of other runs.
    """
    models = in_the_papers_order(params)
    folder = paths.results(params.preset)
    published = load_published(models)
    runs = {model: tuple(_run(params.preset, model, seed) for seed in params.seeds) for model in models}
    timings = load_timings(params.dcls)
    return Results(
        preset=params.preset,
        models=models,
        seeds=params.seeds,
        published=published,
        runs=runs,
        timings={model: timings[model] for model in models},
        linear=tuple(_scored(params.preset, LINEAR_BASELINE, seed) for seed in params.linear_baseline_seeds),
        compared=_compared(folder / "comparison.json", runs),
        compared_record=load_record(folder / "comparison.run.json"),
        coverage=_mapping(folder / "data.json", ("fingerprint",)).get("coverage", {}),
        references=load_references({params.preset, params.data.kind}),
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


def in_the_papers_order(params: Params | Selection) -> tuple[str, ...]:
    return tuple(model for model in MODELS if model in params.models)


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


def load_references(names: set[str]) -> tuple[Reference, ...]:
    """Reference points of a preset, by its name or kind. Raises UserError where the file is missing or no such file."""
    path = paths.PUBLISHED.with_name("reference_points.csv")
    try:
        return tuple(
            Reference(
                name=row["name"],
                map_mean=float(row["mAP"]),
                map_sd=float(row["sd"]) if row["sd"] else None,
                n=int(row["n"]) if row["n"] else None,
                source=row["source"],
            )
            for row in read_rows(path)
            if row["preset"] in names
        )
    except (KeyError, ValueError) as error:
        raise UserError(f"{path}: {error}; restore the file from Git") from error


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
    path = paths.training_results(preset, model, seed) / "run.json"
    scored, training = _scored(preset, model, seed), load_record(path, ("model", "trained_parameters", "threads"))
    _require(path, training["parameters"].get("model"), ("start",))
    return replace(scored, training=training)


def _scored(preset: str, model: str, seed: int) -> Run:
    folder = paths.evaluation_results(preset, model, seed)
    return Run(model, seed, _mapping(folder / "metrics.json", METRICS), load_record(folder / "evaluation.json"), {})


def _compared(path: Path, runs: dict[str, tuple[Run, ...]]) -> dict[str, dict[str, Any]]:
    """The pairs among `runs`, checked to be differences of these runs' mAPs."""
    pairs = _mapping(path, ("pairs",))["pairs"]
    found = {}
    for model in runs:
        baseline = baseline_of(model)
        if model == baseline or baseline not in runs:
            continue
        _require(path, pairs, (model,))
        _require(path, pairs[model], COMPARED + VERDICTS)
        found[model] = pairs[model]
        given = found[model]["differences"]
        for one, other in zip(runs[model], runs[baseline], strict=True):
            difference = one.metrics["mAP"] - other.metrics["mAP"]
            if len(given) != len(runs[model]) or not math.isclose(
                given.get(str(one.seed), math.nan), difference, abs_tol=1e-9
            ):
                raise UserError(f"{path}: {model} is of other runs than those in results; run `compare-models` again")
    return found


def load_record(path: Path, more: tuple[str, ...] = ()) -> dict[str, Any]:
    """What made a result. Raises UserError where it is missing, lacks a key, or is of another schema version."""
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
