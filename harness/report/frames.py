"""All result files of a preset as tidy DataFrames, each read once. docs/recorded.md says what the columns mean.

Every row says which file it comes from: in `source`, or in `<what>_file` where it joins several. Every frame that has a
`model` has its `backbone` (ConvNeXt-T, ...) and `method` (baseline, DCLS or the system's label; linear baseline) too.
"""

from __future__ import annotations

from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.base import paths
from harness.base.errors import UserError
from harness.config.params import FOLDED, Params
from harness.config.systems import LINEAR_BASELINE
from harness.data.clips.splits import folds_of
from harness.records import schemas
from harness.report import paper_frames, timing_frames
from harness.report.reading import WORKING_TREE as FILES
from harness.report.run_rows import checked_pairs, run_row
from harness.report.selection import Selection, in_order

LINEAR_METHOD = "linear baseline"
DIFFERENCE = ("difference", "low", "high")  # of a class
PAIR = [name for name in schemas.Pair.model_fields if name != "differences"]
IN_POINTS = ("mean", "sd", "low", "high", "clips_low", "clips_high")  # of a pair


def load_frames(chosen: Params | Selection) -> Frames:
    """Raises UserError, naming the file, where a run's metrics or records are missing, damaged or of other runs."""
    systems = in_order({name: chosen.systems[name] for name in chosen.models})
    frames = Frames(chosen.preset, (*systems,), (*chosen.seeds,), (*chosen.linear_baseline_seeds,), systems)
    for name in ("published", "runs", "comparisons", "coverage"):  # the others are read when they are asked for
        getattr(frames, name)
    FILES.record(paths.results(chosen.preset) / "comparison.run.json")
    return frames


class Frames(Selection):
    """What was found of a preset's systems, by backbone, and seeds, in the order of the parameters."""

    @cached_property
    def runs(self) -> pd.DataFrame:
        """A row a run, and a row a run of the linear baseline: metrics.json and what its records say."""
        return self._named(pd.DataFrame([run_row(self.preset, *run) for run in self._runs(linear=True)]))

    @cached_property
    def first_runs(self) -> pd.DataFrame:
        """The first run of each model, by its name."""
        return self.runs.drop_duplicates("model").set_index("model", drop=False)

    @cached_property
    def records(self) -> dict[str, schemas.Record]:
        """By file, of every result but the timings."""
        files = self.runs[["training_file", "evaluation_file"]].stack().dropna().map(Path).tolist()
        others = [paths.results(self.preset) / name for name in ("comparison.run.json", "parameters.run.json")]
        files += [path for path in others if FILES.read(path) is not None]
        return {str(path): FILES.record(path) for path in files}

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
        rows = [pair.model_dump() for pair in checked_pairs(path, self.systems, maps)]
        found = pd.DataFrame(rows, columns=PAIR).assign(source=str(path))
        return self._named(found.astype(dict.fromkeys(("sd", "low", "high"), float)))  # None where there is one seed

    @cached_property
    def class_differences(self) -> pd.DataFrame:
        path = paths.results(self.preset) / "per_class_difference.csv"
        found = FILES.csv(path, schemas.PER_CLASS_DIFFERENCE, text=("model", "baseline", "label"))
        known = found.model.isin(self.models) & found.baseline.isin(self.models)
        return self._named(found[known].reset_index(drop=True).assign(source=str(path)))

    @cached_property
    def parameters(self) -> pd.DataFrame:
        path = paths.results(self.preset) / "parameters.json"
        counted = FILES.json(path, schemas.Parameters).models
        for model in self.models:
            if model not in counted:
                raise UserError(f"{path}: no {model!r} in it; run `count-parameters` again")
        found = pd.json_normalize([{"model": model, **counted[model].model_dump()} for model in self.models])
        found.columns = found.columns.str.replace(r"classes\.(\d+)\.(\w+)", r"\2_\1", regex=True)
        return self._named(found.rename(columns={"backbone": "backbone_parameters"}).assign(source=str(path)))

    @cached_property
    def timings(self) -> pd.DataFrame:
        """All rows of all devices, of architectures, not of models; see throughput.rows for the columns."""
        return timing_frames.all_timings(FILES)

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
        return timing_frames.breakdown(FILES, self.timed_device, self.systems)

    @cached_property
    def timed_device(self) -> str:
        there = FILES.read(paths.TIMED_DEVICE) is not None
        return FILES.json(paths.TIMED_DEVICE, schemas.TimedDevice).device if there else "no device"

    @cached_property
    def published(self) -> pd.DataFrame:
        """The paper's Table 1, of the systems that are in it: mAP and its sd in percent, parameters in millions."""
        found = paper_frames.published(FILES)
        return self._named(found[found.model.isin(self.models)].reset_index(drop=True))

    @cached_property
    def references(self) -> pd.DataFrame:
        """Systems that no run of this pipeline scored: mAP and standard deviation in [0, 1], over n of them."""
        return paper_frames.references(FILES, {self.preset, self.kind})

    @cached_property
    def coverage(self) -> dict[str, Any]:
        """Clips listed and there by split, where data.json says so."""
        return FILES.json(paths.results(self.preset) / "data.json", schemas.DataSummary).coverage or {}

    @cached_property
    def examples(self) -> list[schemas.Example]:
        """The recorded example clips, with what the models predict in them."""
        path = paths.results(self.preset) / "examples" / "examples.json"
        return [] if FILES.read(path) is None else FILES.json(path, schemas.Examples).clips

    @property
    def kind(self) -> str:
        """Where the clips come from, as in the parameters."""
        return str(self.runs.data.iloc[0])

    @cached_property
    def tested(self) -> pd.DataFrame:
        """The runs of the first model: the test clips are the same for all."""
        return self.runs[self.runs.model == self.models[0]]

    @property
    def folds(self) -> dict[str, int]:
        """Test clips by fold where seeds test on folds; empty where all test on the same clips."""
        if self.kind not in FOLDED:
            return {}
        return {name: row.clips for row in self.tested.itertuples() for name in folds_of("test", row.seed)}

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
        return 100 * float(self.tested.prevalence.mean())

    def maps_of(self, model: str) -> pd.Series:
        """mAP in percent by seed; empty where the model has no run."""
        found = self.runs[self.runs.model == model]
        return pd.Series(100 * found.mAP.to_numpy(), index=found.seed.to_numpy(), dtype=float)

    @cached_property
    def points(self) -> pd.DataFrame:
        """`comparisons` in percentage points, NaN where a pair is not fair, and the method of the `baseline`."""
        found = self.comparisons
        percent = {name: 100 * found[name].where(found.unfair == "") for name in IN_POINTS}
        return found.assign(**percent, baseline_method=found.baseline.map(self.method))

    @cached_property
    def to_baselines(self) -> pd.DataFrame:
        """Those of `points` that are against the baseline."""
        found = self.points
        return found[found.baseline == found.model.map(self.baseline)]

    @cached_property
    def fair_pairs(self) -> list[tuple[str, str]]:
        """Models and their baselines, where the pair is fair."""
        fair = self.to_baselines.query("unfair == ''")
        return list(zip(fair.model, fair.baseline, strict=True))

    @cached_property
    def headline_pairs(self) -> list[tuple[str, str]]:
        """Of each backbone the main DCLS model and its baseline, where that pair is fair."""
        return [pair for pair in self.fair_pairs if pair[0] in self.main.values()]

    def differences_by_class(self, pairs: list[tuple[str, str]]) -> pd.DataFrame:
        """`class_differences` of these pairs, in percentage points. Raises UserError where there are none of one."""
        found = self.class_differences.set_index(["model", "baseline"], drop=False)
        for model, _ in (pair for pair in pairs if pair not in found.index):
            path = paths.results(self.preset) / "per_class_difference.csv"
            raise UserError(f"{path}: no row of {model}; run `compare-models` again")
        found = found.loc[pairs] if pairs else found.head(0)
        return found.assign(**{name: 100 * found[name] for name in DIFFERENCE}).reset_index(drop=True)

    @property
    def clip_seconds(self) -> float:
        return float(self.runs.clip_seconds.iloc[0])

    def kernel_size(self, model: str) -> int:
        """Cells along a side of the dense kernel of a DCLS model."""
        return int(self.first_runs.dilated_kernel_size[model])

    def _runs(self, linear: bool) -> list[tuple[str, int]]:
        """Models with their seeds, last the linear baseline."""
        runs = [*product(self.models, self.seeds)]
        return runs + [(LINEAR_BASELINE, seed) for seed in self.linear_baseline_seeds if linear]

    def _of_runs(
        self, name: str, columns: tuple[str, ...], text: tuple[str, ...] = (), needed: bool = True, linear: bool = False
    ) -> pd.DataFrame:
        """A CSV of every run, one below the other; those that are not `needed` may be missing."""
        found = [pd.DataFrame(columns=["model", "seed", *columns, "source"])]
        for model, seed in self._runs(linear):
            path = paths.run_results(self.preset, model, seed) / name
            if needed or FILES.read(path) is not None:
                found.append(FILES.csv(path, columns, text).assign(model=model, seed=seed, source=str(path)))
        whole = [frame for frame in found if not frame.empty] or found[:1]
        return self._named(pd.concat(whole, ignore_index=True))

    def _named(self, frame: pd.DataFrame) -> pd.DataFrame:
        """With the backbone's name and the method beside the model."""
        backbones = {name: self.backbone(name) for name in self.models}
        methods = {LINEAR_BASELINE: LINEAR_METHOD} | {name: self.method(name) for name in self.models}
        return frame.assign(backbone=frame.model.map(backbones), method=frame.model.map(methods))
