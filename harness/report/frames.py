"""All result files of a preset as tidy DataFrames, each read once. docs/recorded.md says what the columns mean.

Every row says which file it comes from: in `source`, or in `<what>_file` where it joins several. Every frame that has a
`model` has its `backbone` (ConvNeXt-T, ...) and `method` (baseline, DCLS, linear baseline) too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.audio.units import cell_size
from harness.base import paths
from harness.base.errors import UserError
from harness.config.params import Params
from harness.config.systems import BACKBONES, LINEAR_BASELINE, PAPER, System
from harness.data.clips.splits import folds_of
from harness.records import schemas
from harness.report import paper_frames, timing_frames
from harness.report.reading import WORKING_TREE, Files
from harness.report.run_rows import run_row, training_record
from harness.report.selection import Selection
from harness.throughput.condition import Condition

LINEAR_METHOD = "linear baseline"
PAIR = tuple(name for name in schemas.Pair.model_fields if name != "differences")
COMPARED = ("sd", "low", "high")  # of a pair: None where there is one seed


def load_frames(chosen: Params | Selection, files: Files = WORKING_TREE) -> Frames:
    """Raises UserError, naming the file, where a run's metrics or records are missing, damaged or of other runs."""
    models, seeds, linear_seeds = in_order(chosen), tuple(chosen.seeds), tuple(chosen.linear_baseline_seeds)
    frames = Frames(chosen.preset, chosen.systems, models, seeds, linear_seeds, files)
    for name in ("published", "runs", "comparisons", "coverage"):  # the others are read when they are asked for
        getattr(frames, name)
    files.record(paths.results(chosen.preset) / "comparison.run.json")
    return frames


def in_order(chosen: Params | Selection) -> tuple[str, ...]:
    """By backbone as in the paper's table; within one, the paper's systems and then others as in the parameters."""
    backbones = list(dict.fromkeys(backbone for backbone, _ in PAPER.values()))
    places = {name: place for place, name in enumerate((*PAPER, *(one for one in chosen.models if one not in PAPER)))}
    return tuple(
        sorted(chosen.models, key=lambda name: (backbones.index(chosen.systems[name].model.backbone), places[name]))
    )


@dataclass(frozen=True)
class Frames:
    """What was found of a preset's systems and seeds, seeds in the order of the parameters."""

    preset: str
    systems: Mapping[str, System]
    models: tuple[str, ...]
    seeds: tuple[int, ...]
    linear_seeds: tuple[int, ...]
    files: Files

    @cached_property
    def runs(self) -> pd.DataFrame:
        """A row a run, and a row a run of the linear baseline: metrics.json and what its records say."""
        runs = [(model, seed) for model in self.models for seed in self.seeds]
        runs += [(LINEAR_BASELINE, seed) for seed in self.linear_seeds]
        rows = [run_row(self.files, self.preset, model, seed) for model, seed in runs]
        return self.named(pd.DataFrame(rows))

    @cached_property
    def records(self) -> dict[str, schemas.Record]:
        """By file, of every result but the timings."""
        found: dict[str, schemas.Record] = {}
        for row in self.runs.itertuples():
            for name in (row.training_file, row.evaluation_file):
                if isinstance(name, str):
                    found[name] = self.files.record(Path(name))
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
    def all_comparisons(self) -> pd.DataFrame:
        """A row a system and another one that it is compared with, `baseline`."""
        pairs = [pair.model_dump(exclude={"differences"}) for pair in self._pairs]
        found = pd.DataFrame(pairs, columns=[*PAIR]).assign(source=str(self._comparison_file))
        return self.named(found.astype(dict.fromkeys(COMPARED, float)))

    @cached_property
    def comparisons(self) -> pd.DataFrame:
        """Of those the rows with a system's baseline, the first that it is compared with."""
        found = self.all_comparisons
        return found[found.baseline == found.model.map(self.baseline_of)].reset_index(drop=True)

    @cached_property
    def class_differences(self) -> pd.DataFrame:
        path = paths.results(self.preset) / "per_class_difference.csv"
        found = self.files.csv(path, schemas.PER_CLASS_DIFFERENCE, text=("model", "baseline", "label"))
        found = found[found.model.isin(self.models) & (found.baseline == found.model.map(self.baseline_of))]
        return self.named(found.reset_index(drop=True).assign(source=str(path)))

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
        return self.named(pd.DataFrame(rows))

    @cached_property
    def timings(self) -> pd.DataFrame:
        """All rows of all devices; see throughput.rows for the columns."""
        return self._timed(timing_frames.all_timings(self.files))

    @cached_property
    def shown_timings(self) -> pd.DataFrame:
        """A row a model: those that stand beside the paper's throughput."""
        return timing_frames.shown(self.timings, self.timed_device)

    @cached_property
    def sweep(self) -> pd.DataFrame:
        """Rows of the shown condition but for mode and batch."""
        return timing_frames.sweep(self.timings, self.shown_timings)

    @cached_property
    def breakdown(self) -> pd.DataFrame:
        return self._timed(timing_frames.breakdown(self.files, self.timed_device))

    @cached_property
    def timed_device(self) -> str:
        return self.files.json(paths.TIMED_DEVICE, schemas.TimedDevice).device

    @property
    def condition(self) -> Condition:
        return timing_frames.condition_of(self.shown_timings.iloc[0])

    @cached_property
    def published(self) -> pd.DataFrame:
        """The paper's Table 1: mAP and its standard deviation in percent, parameters in millions, clips/s."""
        return paper_frames.published(self.files)

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
    def clip_seconds(self) -> float:
        return float(self.runs.clip_seconds.iloc[0])

    @property
    def folds(self) -> dict[str, int]:
        """Test clips by fold where seeds test on folds; empty where all test on the same clips."""
        if self.kind != "esc10":
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

    def is_dcls(self, model: str) -> bool:
        return model in self.systems and self.systems[model].is_dcls

    @property
    def methods(self) -> tuple[str, ...]:
        """What the systems are called beside their backbones, each once."""
        return tuple(dict.fromkeys(self.systems[model].method for model in self.models))

    @property
    def of_the_paper(self) -> tuple[str, ...]:
        """Those of the paper's six that ran, which its own figures and claims are about."""
        return tuple(model for model in self.models if model in PAPER)

    def baseline_of(self, model: str) -> str | None:
        """The first that a system is compared with; none of a baseline."""
        return next(iter(self.systems[model].compared_with), None)

    def title(self, model: str) -> str:
        """`ConvNeXt-T, DCLS`."""
        return f"{self.backbone(model)}, {self.systems[model].method}"

    def kernel_size(self, model: str) -> int:
        """Cells along a side of the dense kernel."""
        return int(self._training(model).parameters["model"]["dcls"]["dilated_kernel_size"])

    def is_published(self, model: str) -> bool:
        """Whether the weights are the authors', which have no epochs here."""
        return self._training(model).parameters["model"]["start"] == "published"

    def cell_sizes(self, model: str) -> dict[int, tuple[int, float]]:
        """Mel bands and milliseconds that a kernel's cell stands for, by stage, which the layers' names tell."""
        found = {}
        for stage, layer in self.positions[self.positions.model == model].groupby("stage").layer.first().items():
            place = re.search(r"stages\.(\d+)\.", str(layer))
            found[int(str(stage))] = cell_size(int(place[1]) + 1 if place else int(str(stage)))
        return found

    def _training(self, model: str) -> schemas.TrainingRecord:
        """Of the first seed."""
        return training_record(self.files, self.preset, model, self.seeds[0])

    @property
    def _comparison_file(self) -> Path:
        return paths.results(self.preset) / "comparison.json"

    @cached_property
    def _pairs(self) -> list[schemas.Pair]:
        """The pairs among the models, checked to be differences of these runs' mAPs."""
        path, found = self._comparison_file, []
        compared = {(one.model, one.baseline): one for one in self.files.json(path, schemas.Comparison).pairs}
        wanted = ((model, other) for model in self.models for other in self.systems[model].compared_with)
        for model, other in (pair for pair in wanted if pair[1] in self.models):
            if (model, other) not in compared:
                raise UserError(f"{path}: no {model!r} against {other!r} in it; run `compare-models` again")
            pair = compared[model, other]
            expected = (self.maps_of(model) - self.maps_of(other)) / 100
            given = {int(seed): difference for seed, difference in pair.differences.items()}
            if set(given) != set(self.seeds) or any(abs(given[one] - expected[one]) > 1e-9 for one in self.seeds):
                raise UserError(f"{path}: {model} is of other runs than those in results; run `compare-models` again")
            found.append(pair)
        return found

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
        return self.named(pd.concat(whole, ignore_index=True))

    def named(self, frame: pd.DataFrame) -> pd.DataFrame:
        """With the backbone's name and the method beside the model."""
        names = {model: self.backbone(model) for model in self.systems}
        methods = {**{model: one.method for model, one in self.systems.items()}, LINEAR_BASELINE: LINEAR_METHOD}
        return frame.assign(backbone=frame.model.map(names), method=frame.model.map(methods))

    def _timed(self, frame: pd.DataFrame) -> pd.DataFrame:
        """A row of an architecture once for each system that has it."""
        return self.named(timing_frames.by_model(frame, {name: self.systems[name].model for name in self.models}))
