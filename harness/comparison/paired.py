"""The compare_models stage: is a system better than those it is compared with? Paired by seed, and by clip."""

from __future__ import annotations

import math
import time
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np

from harness.base import paths
from harness.base.errors import UserError
from harness.base.files import read_json, write_csv, write_json
from harness.config.params import Params
from harness.records.provenance import as_plain, data_parameters, provenance, write_log
from harness.records.schemas import (
    PER_CLASS_DIFFERENCE,
    SCHEMA_VERSION,
    Comparison,
    TrainingRecord,
    checked,
    read_result,
)
from harness.scoring.metrics import (
    average_precisions,
    bias_corrected,
    bootstrap_precisions,
    bootstrap_weights,
    scored_classes,
)

UNFAIR = "not a fair pair"
CONVOLUTION = ("kernel_size", "dcls", "weights")  # what a fair pair may differ in; weights are of a system
FEWEST_POSITIVES = 5  # of a class in a test set: fewer say nothing about which positives there could be


@dataclass(frozen=True)
class Predictions:
    """Scores of one run: ids (clips,), targets and scores (clips, classes), labels (classes,)."""

    path: Path
    ids: np.ndarray
    targets: np.ndarray
    scores: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class ClipSet:
    """The clips that one or more seeds are tested on, and the draws of them that all models and seeds share."""

    of: Predictions
    classes: np.ndarray
    weights: np.ndarray


@dataclass(frozen=True)
class SeedDifference:
    """Average precision of a seed's two systems by class (NaN where the class is not scored), and of each draw."""

    clip_set: ClipSet
    baseline: np.ndarray
    system: np.ndarray
    drawn: np.ndarray  # system minus baseline, (classes, resamples)

    @property
    def map_difference(self) -> float:
        """The difference of the two mAPs as metrics.json has them."""
        used = self.clip_set.classes
        return float(np.mean(self.system[used])) - float(np.mean(self.baseline[used]))


def compare(params: Params) -> None:
    """Write results/PRESET/comparison.json, comparison.run.json and per_class_difference.csv.

    For each of params.comparisons; `baseline` is the other system. mAP and differences are in [0, 1]. Raises UserError
    where predictions are missing, or the two models of a seed were not scored on the same clips.

    Six models, three seeds, 1000 draws of 20,000 clips x 527 classes: about eight minutes on one core, under 1 GB.
    """
    started = time.perf_counter()
    sets: list[ClipSet] = []
    pairs, rows = [], []
    for model, baseline in params.comparisons:
        seeds = [_seed_difference(params, model, baseline, seed, sets) for seed in params.seeds]
        unfair = differing(*(_training(params, name) for name in (baseline, model)))
        pairs.append({"model": model, "baseline": baseline, "unfair": unfair} | _pair(params.seeds, seeds))
        if unfair:
            pairs[-1] |= {"verdict": UNFAIR, "verdict_for_these_weights": UNFAIR}
        rows += list(_classes(model, baseline, seeds))
        said = pairs[-1]["verdict"] + (f": {unfair}" if unfair else "")
        print(f"{model}: mAP {pairs[-1]['mean']:+.4f} against {baseline}, {said}")
    folder = paths.results(params.preset)
    write_json(
        folder / "comparison.json",
        checked(Comparison, {"schema_version": SCHEMA_VERSION, "resamples": params.evaluate.bootstrap, "pairs": pairs}),
    )
    write_csv(folder / "per_class_difference.csv", PER_CLASS_DIFFERENCE, rows)
    write_json(folder / "comparison.run.json", _record(params))
    write_log(params.preset, "comparison", time.perf_counter() - started)


def conclusion(differences: Sequence[float], clips: tuple[float, float]) -> dict[str, Any]:
    """What differences paired by seed, and the interval of their mean over clips, allow to be said.

    The interval `low` to `high` takes in both sources of variation: each arm is the root of the summed squares of
    Student's t interval over the seeds and of the arm of the interval over clips. One seed has none: it decides
    nothing but, by the clips alone, for these weights.
    """
    mean, count = fmean(differences), len(differences)
    sd = low = high = None
    if count > 1:
        from scipy.special import stdtrit  # a third of a second to import

        sd = stdev(differences)
        over_seeds = float(stdtrit(count - 1, 0.975)) * sd / math.sqrt(count)
        low = mean - math.hypot(over_seeds, max(0.0, mean - clips[0]))
        high = mean + math.hypot(over_seeds, max(0.0, clips[1] - mean))
    return {
        "mean": mean,
        "sd": sd,
        "n": count,
        "clips_low": clips[0],
        "clips_high": clips[1],
        "low": low,
        "high": high,
        "verdict": verdict(low, high),
        "verdict_for_these_weights": verdict(*clips),
    }


def verdict(low: float | None, high: float | None) -> str:
    """What an interval of system minus baseline says: `higher`, `lower` or `not distinguishable`."""
    if low is not None and low > 0:
        return "higher"
    if high is not None and high < 0:
        return "lower"
    return "not distinguishable"


def _training(params: Params, model: str) -> TrainingRecord:
    """Of the first seed; a training's parameters are the same for all."""
    return read_result(paths.training_results(params.preset, model, params.seeds[0]) / "run.json", TrainingRecord)


def differing(one: TrainingRecord, other: TrainingRecord) -> str:
    """What two trainings differ in but the convolution, such as `epochs 1 and 9`; empty where the pair is fair."""
    here, there = _conditions(one), _conditions(other)
    differences = (
        f"{name} {here.get(name)} and {there.get(name)}"
        for name in dict.fromkeys([*here, *there])
        if here.get(name) != there.get(name)
    )
    return "; ".join(differences)


def _conditions(record: TrainingRecord) -> dict[str, Any]:
    """By name, all that two systems of a fair pair have in common."""
    sections = (record.parameters.get(name, {}) for name in ("schedule", "train", "model", "data"))
    merged = {key: value for section in sections for key, value in section.items() if key not in CONVOLUTION}
    more = {"classes": record.classes, "device": record.device, "precision": record.precision}
    return merged | more | {"data fingerprint": record.data_fingerprint}


def _seed_difference(params: Params, model: str, other: str, seed: int, sets: list[ClipSet]) -> SeedDifference:
    baseline, system = (read_predictions(paths.predictions(params.preset, name, seed)) for name in (other, model))
    for name in ("ids", "targets", "labels"):
        _require_equal(name, system, baseline)
    clip_set = _clip_set(baseline, params.evaluate.bootstrap, sets)
    used = clip_set.classes
    targets = baseline.targets[:, used]
    drawn = np.full((len(baseline.labels), params.evaluate.bootstrap), np.nan)
    precisions = []
    drawn[used] = 0.0
    for one, sign in ((baseline, -1.0), (system, 1.0)):
        scores = one.scores[:, used]
        drawn[used] += sign * bootstrap_precisions(targets, scores, clip_set.weights)
        precisions.append(np.full(len(one.labels), np.nan))
        precisions[-1][used] = average_precisions(targets, scores)
    return SeedDifference(clip_set, precisions[0], precisions[1], drawn)


def _clip_set(of: Predictions, resamples: int, sets: list[ClipSet]) -> ClipSet:
    """The one of `sets` that has these clips, or a new one with draws of its own."""
    for known in sets:
        if np.array_equal(known.of.ids, of.ids):
            for name in ("targets", "labels"):
                _require_equal(name, of, known.of)
            return known
        _require_equal("labels", of, known.of)
    weights = bootstrap_weights(len(of.ids), resamples, seed=len(sets))
    sets.append(ClipSet(of, scored_classes(of.targets), weights))
    return sets[-1]


def _pair(seeds: Sequence[int], found: list[SeedDifference]) -> dict[str, Any]:
    """Mean over the seeds: by draw too, so that seeds with the same clips keep the same draws, and folds their own."""
    differences = [one.map_difference for one in found]
    drawn = np.mean([np.nanmean(one.drawn, axis=0) for one in found], axis=0)
    sets = _distinct(found)
    return {
        "differences": {str(seed): one for seed, one in zip(seeds, differences, strict=True)},
        "clips": sum(len(one.of.ids) for one in sets),
        "test_sets": len(sets),
        **conclusion(differences, bias_corrected(fmean(differences), drawn)),
    }


def _classes(model: str, other: str, found: list[SeedDifference]) -> Iterator[dict[str, Any]]:
    """A row a class in the order of the labels; cells of a class that no seed scores are empty."""
    sets = _distinct(found)
    positives = np.array([one.of.targets.sum(0) for one in sets]).astype(int)
    for column, label in enumerate(sets[0].of.labels):
        row: dict[str, Any] = dict.fromkeys(PER_CLASS_DIFFERENCE)  # None: an empty cell
        row |= {"model": model, "baseline": other, "label": str(label)}
        row |= {"positives": int(positives[:, column].sum())}
        scored = [one for one in found if column in one.clip_set.classes]
        if scored:
            baseline, system = (
                fmean(float(getattr(one, name)[column]) for one in scored) for name in ("baseline", "system")
            )
            row |= {"AP_baseline": baseline, "AP": system, "difference": system - baseline}
            drawn = _mean_of_draws(np.array([one.drawn[column] for one in scored]))
            if positives[:, column].min() >= FEWEST_POSITIVES and len(drawn):
                row["low"], row["high"] = bias_corrected(system - baseline, drawn)
        yield row


def _mean_of_draws(drawn: np.ndarray) -> np.ndarray:
    """Mean over the seeds (seeds, resamples) of each draw that has a positive in any of them."""
    known = ~np.isnan(drawn)
    held = known.any(axis=0)
    return np.where(known, drawn, 0.0).sum(axis=0)[held] / known.sum(axis=0)[held]


def _distinct(found: list[SeedDifference]) -> list[ClipSet]:
    return list({id(one.clip_set): one.clip_set for one in found}.values())


def read_predictions(path: Path) -> Predictions:
    """What `evaluate` wrote of a run. Raises UserError, naming the file, where it cannot be read."""
    try:
        with np.load(path) as file:
            return Predictions(path, *(file[name] for name in ("ids", "targets", "scores", "labels")))
    except FileNotFoundError as error:
        raise UserError(f"{path}: missing; run `evaluate` of that model and seed (`dvc repro` runs all)") from error
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: cannot be read ({error}); delete it and run `evaluate` again") from error


def _require_equal(name: str, one: Predictions, other: Predictions) -> None:
    if not np.array_equal(getattr(one, name), getattr(other, name)):
        raise UserError(f"{one.path}: its {name} differ from those of {other.path}; run `evaluate` of both again")


def _record(params: Params) -> dict[str, Any]:
    """What made the comparison; its data are those that the predictions were scored on."""
    files = [paths.evaluation_results(params.preset, model, seed) for model in params.models for seed in params.seeds]
    fingerprints = dict.fromkeys(read_json(folder / "evaluation.json")["data_fingerprint"] for folder in files)
    return provenance(
        "comparison",
        {
            "preset": params.preset,
            "data": data_parameters(params),
            "evaluate": as_plain(params.evaluate),
            "systems": {name: as_plain(params.systems[name]) for name in params.models},
        },
        " ".join(fingerprints),
        "cpu",
        models=list(params.models),
        seeds=list(params.seeds),
    )
