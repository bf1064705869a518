"""Timings of the full-size models as DataFrames, and which of them stand beside the paper's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from harness.base import paths
from harness.base.errors import UserError
from harness.config.systems import CLASS_COUNTS, Model
from harness.report.reading import Files
from harness.throughput import rows
from harness.throughput.condition import Condition
from harness.throughput.device import breakdown_file, timings_file
from harness.throughput.verdict import in_words

FLAGS = ("compiled", "channels_last", "fused")
TEXT = (
    *(*rows.ARCHITECTURE, "device", "mode", "precision", "positions", "status", "baseline", "fusion", "convolutions"),
    *("processor", "gpu", "driver", "torch", "timm", "python", "cuda", "triton", "revision", "dirty", "date", *FLAGS),
    *rows.ADDED,
)
RATIO = (*(f"ratio_to_baseline{end}" for end in rows.INTERVAL), "no_difference_below")
REMEDY = "restore it from Git, or measure again"  # another device's rows cannot be measured here
PLAIN = {"mode": "inference", "precision": "float32", "compiled": False, "fused": False, "classes": CLASS_COUNTS[0]}


def all_timings(files: Files) -> pd.DataFrame:
    """The rows of every device's file: throughput.rows.COLUMNS, flags as booleans, NaN in what was not measured; and in
    words the `condition` and the difference to the baseline's speed, `in_words`.

    Raises UserError, naming the file, for a row that is damaged.
    """
    found = [pd.DataFrame(columns=[*rows.COLUMNS, "source"])]
    for path in files.below(paths.THROUGHPUT):
        if path.suffix == ".csv" and not path.name.endswith(".breakdown.csv"):
            found.append(read_timings(files, path))
    return pd.concat([frame for frame in found if not frame.empty] or found, ignore_index=True)


def read_timings(files: Files, path: Path) -> pd.DataFrame:
    """The rows of one file, as `all_timings` has them."""
    frame = files.csv(path, tuple(name for name in rows.COLUMNS if name not in rows.ADDED), TEXT, REMEDY)
    frame = frame.assign(**{name: value for name, value in rows.ADDED.items() if name not in frame})
    for flag in FLAGS:
        if not frame[flag].isin(["yes", "no"]).all():
            raise UserError(f"{path}: column {flag}: must be yes or no; {REMEDY}")
        frame[flag] = frame[flag] == "yes"
    timed = frame.status == rows.OK
    for name in ("throughput", "throughput_low", "throughput_high", "parameters_527", "parameters_1000"):
        if frame.loc[timed, name].isna().any():
            raise UserError(f"{path}: column {name}: empty where the status is ok; measure again")
    frame["condition"] = [condition_of(row).words for _, row in frame.iterrows()]
    frame["in_words"] = [difference_in_words(row) for _, row in frame.iterrows()]
    return frame.assign(source=str(path))


def shown(timings: pd.DataFrame, device: str) -> pd.DataFrame:
    """The fairest rows of a device. Raises UserError, saying what to run, where there are none."""
    found = fairest(timings[timings.device == device])
    if found.empty:
        raise UserError(
            f"{timings_file(device)}: has no float32 inference of these systems; run `python -m harness throughput`"
        )
    return found


def fairest(timings: pd.DataFrame) -> pd.DataFrame:
    """Of one device's rows those, one a model, that compare best with the paper's throughput column.

    The paper's code uses no mixed precision, no compiler and no fusing, and counts what its layers do in evaluation:
    inference, exact float32, eager, not fused, 527 classes. Of those, what the latest commit timed. The paper names
    neither batch nor memory layout: of the layouts the one in which all are fastest (geometric mean), each at the
    largest batch at which most of them ran. What was not timed so has no row.
    """
    plain = rows_with(timings, PLAIN | {"status": rows.OK})
    if plain.empty:
        return timings.head(0)
    groups = [one for _, one in plain.groupby(["channels_last", "batch"])]
    most = max(one.model.nunique() for one in groups)
    whole = [one for one in groups if one.model.nunique() == most]
    latest = set(max(whole, key=lambda one: one.date.max()).revision)
    whole = [one for one in whole if set(one.revision) & latest]
    largest = {one.channels_last.iloc[0]: one for one in whole}  # the last of each layout
    return max(largest.values(), key=lambda one: float(np.log(one.throughput).mean())).reset_index(drop=True)


def sweep(timings: pd.DataFrame, shown: pd.DataFrame) -> pd.DataFrame:
    """The rows of the shown device and condition, of every mode and batch; throughput is NaN where memory ended."""
    alike = [name for name in rows.CONDITION if name not in ("mode", "batch")]
    found = rows_with(timings, {name: shown[name].iloc[0] for name in alike})
    return found[found.status.isin([rows.OK, rows.OUT_OF_MEMORY])].reset_index(drop=True)


def breakdown(files: Files, device: str) -> pd.DataFrame:
    """Where a step's time goes on a device: throughput.rows.BREAKDOWN; empty where that was not profiled."""
    path = breakdown_file(device)
    if files.read(path) is None:
        return pd.DataFrame(columns=[*rows.BREAKDOWN, "source"])
    text = (*rows.ARCHITECTURE, "device", "mode", "precision", "part", "revision", "dirty", "date")
    return files.csv(path, rows.BREAKDOWN, text, REMEDY).assign(source=str(path))


def by_model(frame: pd.DataFrame, models: Mapping[str, Model]) -> pd.DataFrame:
    """Rows by architecture as rows by `model`: once for each name whose architecture it is; the others go."""
    named = [(name, model.backbone, model.convolution) for name, model in models.items()]
    named_frame = pd.DataFrame(named, columns=["model", *rows.ARCHITECTURE])
    return named_frame.merge(frame, on=list(rows.ARCHITECTURE)).drop(columns=list(rows.ARCHITECTURE))


def difference_in_words(row: pd.Series) -> str:
    """Empty for a baseline, and where the baseline was not timed."""
    ratio, low, high, noise = (row[name] for name in RATIO)
    return "" if pd.isna(ratio) else in_words(ratio, low, high, None if pd.isna(noise) else noise)


def condition_of(row: pd.Series) -> Condition:
    flags = {name: bool(row[name]) for name in FLAGS}
    given = {"device": row.device, "mode": row["mode"], "precision": row.precision}
    numbers = {"batch": int(row.batch), "classes": int(row.classes)}
    return Condition(**given, **flags, **numbers, baseline_depthwise=row.baseline_depthwise)  # type: ignore[arg-type]


def rows_with(frame: pd.DataFrame, cells: dict[str, object]) -> pd.DataFrame:
    """The rows with these cells."""
    for name, value in cells.items():
        frame = frame[frame[name] == value]
    return frame
