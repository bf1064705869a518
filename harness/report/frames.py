"""All result files of a preset as tidy DataFrames, each read once. docs/recorded.md says what the columns mean.

Every row says which file it comes from: in `source`, or in `<what>_file` where it joins several. Every frame that has a
`model` has its `backbone` (ConvNeXt-T, ...) and `method` (baseline, DCLS or the system's label; linear baseline) too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.audio.units import cell_size
from harness.base import paths
from harness.base.errors import UserError
from harness.config.params import FOLDED, Params
from harness.config.systems import BACKBONES, LINEAR_BASELINE, System
from harness.data.clips.splits import folds_of
from harness.records import schemas
from harness.report import geometry, paper_frames, timing_frames
from harness.report.pairs import checked_pairs
from harness.report.reading import WORKING_TREE, Files
from harness.report.run_rows import run_row, training_record
from harness.report.selection import Selection, in_order

LINEAR_METHOD = "linear baseline"
PAIR = tuple(name for name in schemas.Pair.model_fields if name != "differences")


def load_frames(chosen: Params | Selection, files: Files = WORKING_TREE) -> Frames:
    """Raises UserError, naming the file, where a run's metrics or records are missing, damaged or of other runs."""
    systems = in_order({name: chosen.systems[name] for name in chosen.models})
    frames = Frames(chosen.preset, systems, tuple(chosen.seeds), tuple(chosen.linear_baseline_seeds), files)
    for name in ("published", "runs", "comparisons", "coverage"):  # the others are read when they are asked for
        getattr(frames, name)
    files.record(paths.results(chosen.preset) / "comparison.run.json")
    return frames


@dataclass(frozen=True)
class Frames:
    """What was found of a preset's systems, by backbone, and seeds, in the order of the parameters."""

    preset: str
    systems: dict[str, System]
    seeds: tuple[int, ...]
    linear_seeds: tuple[int, ...]
    files: Files

    @property
    def models(self) -> tuple[str, ...]:
        return tuple(self.systems)

    @cached_property
    def runs(self) -> pd.DataFrame:
        """A row a run, and a row a run of the linear baseline: metrics.json and what its records say."""
        runs = [(model, seed) for model in self.models for seed in self.seeds]
        runs += [(LINEAR_BASELINE, seed) for seed in self.linear_seeds]
        rows = [run_row(self.files, self.preset, model, seed) for model, seed in runs]
        return self._named(pd.DataFrame(rows))

    @cached_property
    def records(self) -> dict[str, schemas.Record]:
        """By file, of every result but the timings."""
        named = [name for row in self.runs.itertuples() for name in (row.training_file, row.evaluation_file)]
        found = {name: self.files.record(Path(name)) for name in named if isinstance(name, str)}
        for name in ("comparison.run.json", "parameters.run.json"):
            path = paths.results(self.preset) / name
            if self.files.read(path) is not None:
                found[str(path)] = self.files.record(path)
        return found

    @cached_property
    def histories(self) -> pd.DataFrame:
        return self._of_runs("training/history.csv", schemas.HISTORY)

    @cached_property
    def positions(self) -> pd.DataFrame:
        """Older runs recorded some columns only: a column that no run has is not there."""
        return self._of_runs("training/positions.csv", schemas.POSITIONS[:5], text=("layer",))

    @cached_property
    def densities(self) -> pd.DataFrame:
        return self._of_runs("training/position_density.csv", schemas.POSITION_DENSITY)

    @cached_property
    def trajectories(self) -> pd.DataFrame:
        return self._of_runs("training/trajectories.csv", schemas.TRAJECTORIES, needed=False)

    @cached_property
    def kernels(self) -> pd.DataFrame:
        """`values` are float64 (size, size), rows along frequency."""
        found = self._of_runs("training/kernels.csv", schemas.KERNELS, needed=False, text=("layer", "values"))
        values = []
        for row in found.itertuples():
            side = self.kernel_size(row.model)
            try:
                values.append(row.largest / 999 * np.array(row.values.split(), float).reshape(side, side))
            except ValueError as error:
                raise UserError(f"{row.source}: {error}; delete it and run its stage again") from error
        return found.assign(values=pd.Series(values, index=found.index, dtype=object))

    @cached_property
    def calibration(self) -> pd.DataFrame:
        return self._of_runs("evaluation/calibration.csv", schemas.CALIBRATION, needed=False, linear=True)

    @cached_property
    def per_class(self) -> pd.DataFrame:
        return self._of_runs("evaluation/per_class.csv", schemas.PER_CLASS, text=("label",), linear=True)

    @cached_property
    def comparisons(self) -> pd.DataFrame:
        """A row a pair of systems that are compared: `model` minus `baseline`."""
        path = paths.results(self.preset) / "comparison.json"
        maps = {model: self.maps_of(model) / 100 for model in self.models}
        pairs = checked_pairs(self.files, path, self.systems, maps)
        rows = [pair.model_dump(exclude={"differences"}) for pair in pairs]
        found = pd.DataFrame(rows, columns=[*PAIR]).assign(source=str(path))
        return self._named(found.astype(dict.fromkeys(("sd", "low", "high"), float)))  # None where there is one seed

    @cached_property
    def class_differences(self) -> pd.DataFrame:
        path = paths.results(self.preset) / "per_class_difference.csv"
        found = self.files.csv(path, schemas.PER_CLASS_DIFFERENCE, text=("model", "baseline", "label"))
        known = found.model.isin(self.models) & found.baseline.isin(self.models)
        return self._named(found[known].reset_index(drop=True).assign(source=str(path)))

    @cached_property
    def parameters(self) -> pd.DataFrame:
        path = paths.results(self.preset) / "parameters.json"
        counted = self.files.json(path, schemas.Parameters).models
        for model in self.models:
            if model not in counted:
                raise UserError(f"{path}: no {model!r} in it; run `count-parameters` again")
        rows = []
        for model in self.models:
            one = counted[model]
            row = {"model": model, **one.model_dump(exclude={"backbone", "classes"})}
            for classes, count in one.classes.items():
                row |= {f"head_{classes}": count.head, f"total_{classes}": count.total}
            rows.append(row | {"backbone_parameters": one.backbone, "source": str(path)})
        return self._named(pd.DataFrame(rows))

    @cached_property
    def timings(self) -> pd.DataFrame:
        """All rows of all devices, of architectures, not of models; see throughput.rows for the columns."""
        return timing_frames.all_timings(self.files)

    @cached_property
    def shown_timings(self) -> pd.DataFrame:
        """A row a model that was timed: those that stand beside the paper's throughput."""
        return self._named(timing_frames.shown(self.timings, self.timed_device, self.systems))

    @cached_property
    def sweep(self) -> pd.DataFrame:
        """Rows of the shown condition but for mode and batch."""
        return timing_frames.sweep(self.timings, self.shown_timings)

    @cached_property
    def breakdown(self) -> pd.DataFrame:
        return timing_frames.breakdown(self.files, self.timed_device, self.systems)

    @cached_property
    def timed_device(self) -> str:
        there = self.files.read(paths.TIMED_DEVICE) is not None
        return self.files.json(paths.TIMED_DEVICE, schemas.TimedDevice).device if there else "no device"

    @cached_property
    def published(self) -> pd.DataFrame:
        """The paper's Table 1, of the systems that are in it: mAP and its sd in percent, parameters in millions."""
        found = paper_frames.published(self.files)
        return self._named(found[found.model.isin(self.models)].reset_index(drop=True))

    @cached_property
    def references(self) -> pd.DataFrame:
        """Systems that no run of this pipeline scored: mAP and standard deviation in [0, 1], over n of them."""
        return paper_frames.references(self.files, {self.preset, self.kind})

    @cached_property
    def coverage(self) -> dict[str, Any]:
        """Clips listed and there by split, where data.json says so."""
        return self.files.json(paths.results(self.preset) / "data.json", schemas.DataSummary).coverage or {}

    @property
    def kind(self) -> str:
        """Where the clips come from, as in the parameters."""
        return str(self.runs.data.iloc[0])

    @property
    def folds(self) -> dict[str, int]:
        """Test clips by fold where seeds test on folds; empty where all test on the same clips."""
        if self.kind not in FOLDED:
            return {}
        first = self.runs[self.runs.model == self.models[0]]
        return {name: row.clips for row in first.itertuples() for name in folds_of("test", row.seed)}

    @property
    def repeats(self) -> str:
        """What the runs of a model differ in: `seeds`, or `folds` where each seed has a fold of its own."""
        return "folds" if len(self.folds) == len(self.seeds) else "seeds"

    @property
    def full_size(self) -> bool:
        return bool((self.runs.scale.dropna() == "full").all())

    @property
    def chance(self) -> float:
        """mAP in percent of scores that know nothing: the mean share of positives."""
        return 100 * float(self.runs[self.runs.model == self.models[0]].prevalence.mean())

    def maps_of(self, model: str) -> pd.Series:
        """mAP in percent by seed; empty where the model has no run."""
        found = self.runs[self.runs.model == model]
        return pd.Series(100 * found.mAP.to_numpy(), index=found.seed.to_numpy(), dtype=float)

    def backbone(self, model: str) -> str:
        return BACKBONES[self.systems[model].model.backbone]

    def baseline(self, model: str) -> str | None:
        """The first that it is compared with, where that is here."""
        return next((name for name in self.systems[model].compared_with[:1] if name in self.systems), None)

    @cached_property
    def main(self) -> dict[str, str]:
        """By backbone the DCLS model that the others are there for: that which is compared with most of them."""
        dcls = [name for name, system in self.systems.items() if system.is_dcls]
        most = sorted(dcls, key=lambda name: -len(self.systems[name].compared_with))
        named = {name: self.backbone(name) for name in self.models}
        first = {named[name]: name for name in reversed(most)}
        return {backbone: first[backbone] for backbone in dict.fromkeys(named.values()) if backbone in first}

    @property
    def to_baselines(self) -> pd.DataFrame:
        """Those of `comparisons` that are against the baseline."""
        return self.comparisons[self.comparisons.baseline == self.comparisons.model.map(self.baseline)]

    @property
    def headline_pairs(self) -> list[tuple[str, str]]:
        """Of each backbone the main DCLS model and its baseline, where that pair is fair."""
        fair = self.to_baselines[(self.to_baselines.unfair == "") & self.to_baselines.model.isin(self.main.values())]
        return list(zip(fair.model, fair.baseline, strict=True))

    @property
    def clip_seconds(self) -> float:
        return float(self.runs.clip_seconds.iloc[0])

    def kernel_size(self, model: str) -> int:
        """Cells along a side of the dense kernel of a DCLS model."""
        return int(self._training(model).parameters["model"]["dcls"]["dilated_kernel_size"])

    def is_published(self, model: str) -> bool:
        """Whether the weights are the authors', which have no epochs here."""
        return self._training(model).parameters["model"]["start"] == "published"

    def cell_sizes(self, model: str) -> dict[int, tuple[int, float]]:
        """Mel bands and milliseconds that a kernel's cell stands for, by stage."""
        return {number: cell_size(stage) for number, stage in self._stages(model).items()}

    def maps(self, model: str) -> dict[int, geometry.Map]:
        """Cells of the feature maps under a model's kernels, along frequency and time, by stage."""
        stages, name = self._stages(model), self.backbone(model)
        return {number: geometry.map_size(name, stage, self.clip_seconds) for number, stage in stages.items()}

    def _stages(self, model: str) -> dict[int, int]:
        """Stage of the backbone, which the layers' names tell, by that of the recorded positions."""
        layers = self.positions[self.positions.model == model].groupby("stage").layer.first()
        places = {int(str(number)): re.search(r"stages\.(\d+)\.", str(layer)) for number, layer in layers.items()}
        return {number: int(place[1]) + 1 if place else number for number, place in places.items()}

    def _training(self, model: str) -> schemas.TrainingRecord:
        """Of the first seed."""
        return training_record(self.files, self.preset, model, self.seeds[0])

    def _of_runs(
        self, name: str, columns: tuple[str, ...], text: tuple[str, ...] = (), needed: bool = True, linear: bool = False
    ) -> pd.DataFrame:
        """A CSV of every run, one below the other; those that are not `needed` may be missing."""
        runs = [(model, seed) for model in self.models for seed in self.seeds]
        runs += [(LINEAR_BASELINE, seed) for seed in self.linear_seeds] if linear else []
        found = [pd.DataFrame(columns=["model", "seed", *columns, "source"])]
        for model, seed in runs:
            path = paths.run_results(self.preset, model, seed) / name
            if needed or self.files.read(path) is not None:
                rows = self.files.csv(path, columns, text)
                found.append(rows.assign(model=model, seed=seed, source=str(path)))
        whole = [frame for frame in found if not frame.empty] or found[:1]
        return self._named(pd.concat(whole, ignore_index=True))

    def _named(self, frame: pd.DataFrame) -> pd.DataFrame:
        """With the backbone's name and the method beside the model."""
        backbones = {name: self.backbone(name) for name in self.models}
        methods = {name: system.method for name, system in self.systems.items()} | {LINEAR_BASELINE: LINEAR_METHOD}
        return frame.assign(backbone=frame.model.map(backbones), method=frame.model.map(methods))
