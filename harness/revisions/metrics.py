"""Metrics and timings of two revisions: what rose, what fell by more than its interval, what does not compare."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np

from harness.base.errors import UserError
from harness.config.params import Dcls
from harness.config.systems import LINEAR_BASELINE, MODELS
from harness.report.summary import in_words
from harness.report.timings import Timing, fairest, parse
from harness.revisions.revisions import Revision
from harness.scoring.metrics import bias_corrected
from harness.throughput.device import label, timings_file

RESAMPLES = 2000
TEST_SET = ("kind", "clip_seconds", "test_mixtures", "mixture_seed")  # keys of `data` that choose the clips scored on
ONLY_A, ONLY_B, OTHER_SEEDS, OTHER_DATA = "only in A", "only in B", "other seeds", "other data"
FELL, ROSE, WITHIN, SAME = "fell", "rose", "within its interval", "unchanged"


@dataclass(frozen=True)
class Score:
    """A run: mAP in [0, 1], half the width of its interval over clips, AP of the classes scored, and the test set."""

    mean: float
    arm: float
    precisions: dict[str, float]
    test_set: tuple[Any, ...]


@dataclass(frozen=True)
class Mean:
    """mAP in [0, 1] and the half width of its interval over clips, each the mean over seeds."""

    mean: float
    arm: float


@dataclass(frozen=True)
class MapChange:
    """A model in two revisions, over `seeds`: those in both, where there are any.

    `low` to `high` is the 95% interval of B - A paired by seed and class; `obstacle` says why the two do not compare.
    """

    model: str
    seeds: tuple[int, ...]
    a: Mean | None
    b: Mean | None
    low: float | None = None
    high: float | None = None
    obstacle: str = ""

    @property
    def difference(self) -> float | None:
        return self.b.mean - self.a.mean if self.a and self.b else None

    @property
    def verdict(self) -> str:
        """The rule: it fell where B lies below A by more than A's half width."""
        if self.obstacle or self.a is None or self.difference is None:
            return self.obstacle
        if self.difference == 0:
            return SAME
        if abs(self.difference) <= self.a.arm:
            return WITHIN
        return FELL if self.difference < 0 else ROSE


@dataclass(frozen=True)
class Pair:
    """DCLS minus baseline as comparison.json has it: mAP difference, its interval if it has one, and its verdict."""

    mean: float
    low: float | None
    high: float | None
    words: str


def map_changes(a: Revision, b: Revision, preset: str) -> list[MapChange]:
    """A model that either revision has scored, in the paper's order. Raises UserError where a file lacks a key."""
    old, new = scores(a, preset), scores(b, preset)
    return [_map_change(model, old.get(model, {}), new.get(model, {})) for model in _in_order({**old, **new})]


def scores(revision: Revision, preset: str) -> dict[str, dict[int, Score]]:
    """The runs that have a metrics.json, by model and seed."""
    found: dict[str, dict[int, Score]] = {}
    for path in revision.under(f"results/{preset}/runs"):
        folder, _, file = path.rpartition("/")
        model, _, seed = folder.removesuffix("/evaluation").rpartition("/")[2].rpartition("-")
        if file == "metrics.json" and model and seed.isdecimal():
            found.setdefault(model, {})[int(seed)] = _score(revision, folder)
    return found


def paired_interval(differences: np.ndarray) -> tuple[float, float]:
    """95% interval of the mean of (seeds, classes), from draws of both with replacement; seeded."""
    random = np.random.default_rng(0)
    over_seeds, over_classes = (
        random.multinomial(count, np.full(count, 1 / count), RESAMPLES) / count for count in differences.shape
    )
    drawn = ((over_seeds @ differences) * over_classes).sum(axis=1)
    return bias_corrected(float(differences.mean()), drawn)


def timings(revision: Revision) -> dict[str, Timing]:
    """The fairest timings (see `report.timings.fairest`) on the revision's machine, with the DCLS of its params.yaml.

    By model, in the paper's order; none where it has not timed all six so. Raises UserError where a row is damaged.
    """
    hardware, dcls = revision.mapping("results/hardware.json"), revision.mapping("params.yaml").get("dcls")
    try:
        devices = [label(hardware, on_gpu) for on_gpu in (True, False) if hardware["gpus"] or not on_gpu]
        wanted = Dcls(**(dcls or {}))
    except (KeyError, TypeError, ValueError):  # no such file, or one of another version
        return {}
    path = next((path for path in map(str, map(timings_file, devices)) if path in revision.files), "")
    table = csv.DictReader(revision.text(path).splitlines(), restval="")
    found = fairest(parse(f"{revision.name}:{path}", table, wanted))
    return {model: found[model] for model in _in_order(found)}


def pairs(revision: Revision, preset: str) -> dict[str, Pair]:
    """By DCLS model, in the paper's order; none without a comparison.json. Raises UserError where it lacks a key."""
    path = f"results/{preset}/comparison.json"
    found = revision.mapping(path).get("pairs") or {}
    return {model: _pair(revision, path, found[model]) for model in _in_order(found)}


def _pair(revision: Revision, path: str, pair: dict[str, Any]) -> Pair:
    try:
        return Pair(revision.number(path, pair, "mean"), pair["low"], pair["high"], in_words(pair))
    except KeyError as error:
        raise UserError(f"{revision.name}:{path}: has no {error}; name another commit") from error


def _map_change(model: str, old: dict[int, Score], new: dict[int, Score]) -> MapChange:
    both = sorted(set(old) & set(new))
    seeds = tuple(both or sorted({**old, **new}))
    a, b = (_mean([some[seed] for seed in both or some]) for some in (old, new))
    obstacle = ONLY_A if b is None else ONLY_B if a is None else "" if both else OTHER_SEEDS
    if obstacle:
        return MapChange(model, seeds, a, b, obstacle=obstacle)
    if any(old[seed].test_set != new[seed].test_set for seed in both):
        return MapChange(model, seeds, a, b, obstacle=OTHER_DATA)
    runs = [run for seed in both for run in (old[seed], new[seed])]
    labels = [label for label in runs[0].precisions if all(label in run.precisions for run in runs)]
    if not labels:  # no per_class.csv, or none that has a class in common
        return MapChange(model, seeds, a, b)
    differences = [[new[seed].precisions[label] - old[seed].precisions[label] for label in labels] for seed in both]
    return MapChange(model, seeds, a, b, *paired_interval(np.array(differences)))


def _mean(runs: Sequence[Score]) -> Mean | None:
    return Mean(fmean(run.mean for run in runs), fmean(run.arm for run in runs)) if runs else None


def _score(revision: Revision, folder: str) -> Score:
    path = f"{folder}/metrics.json"
    metrics, record = revision.mapping(path), revision.mapping(f"{folder}/evaluation.json")
    mean, low, high = (revision.number(path, metrics, key) for key in ("mAP", "mAP_low", "mAP_high"))
    rows = list(csv.DictReader(revision.text(f"{folder}/per_class.csv").splitlines()))
    try:
        precisions = {row["label"]: float(row["AP"]) for row in rows if row["AP"]}
        positives = tuple((row["label"], row["positives"], row["clips"]) for row in rows)
    except (KeyError, ValueError) as error:
        raise UserError(f"{revision.name}:{folder}/per_class.csv: {error}; name another commit") from error
    data = (record.get("parameters") or {}).get("data") or {}
    test_set = (record.get("data_fingerprint"), *(data.get(key) for key in TEST_SET), positives)
    return Score(mean, (high - low) / 2, precisions, test_set)


def _in_order(models: dict[str, Any]) -> list[str]:
    """The paper's models first, then the linear baseline, then others by name."""
    known = [*MODELS, LINEAR_BASELINE]
    return [model for model in known if model in models] + sorted(set(models) - set(known))
