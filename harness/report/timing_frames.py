"""Timings of the full-size models as DataFrames, and which of them stand beside the paper's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from harness.base import paths
from harness.base.errors import UserError
from harness.config.systems import BACKBONES, CLASS_COUNTS, System
from harness.report.reading import Files
from harness.throughput import rows
from harness.throughput.condition import Condition
from harness.throughput.device import breakdown_file
from harness.throughput.verdict import in_words

FLAGS = ("compiled", "channels_last", "fused")
TEXT = (
    *("backbone", "convolution", "baseline", "device", "mode", "precision", "positions", "status", "fusion"),
    "convolutions",
    *("processor", "gpu", "driver", "torch", "timm", "python", "cuda", "triton", "revision", "dirty", "date", *FLAGS),
    *rows.ADDED,
)
RATIO = (*(f"ratio_to_baseline{end}" for end in rows.INTERVAL), "no_difference_below")
REMEDY = "restore it from Git, or measure again"  # another device's rows cannot be measured here
PLAIN = {
    "mode": "inference",
    "precision": "float32",
    "compiled": False,
    "fused": False,
    "classes": CLASS_COUNTS[0],
    "status": rows.OK,
}


def all_timings(files: Files) -> pd.DataFrame:
    """The rows of every device's file: throughput.rows.COLUMNS, flags as booleans, NaN in what was not measured, the
    backbones by the paper's names; in words the `condition` and the difference to the baseline's speed, `in_words`.

    Raises UserError, naming the file, for a row that is damaged.
    """
    found = [pd.DataFrame(columns=[*rows.COLUMNS, "source", "condition", "in_words"])]
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
    frame["in_words"] = [
        "" if pd.isna(ratio) else in_words(ratio, low, high, None if pd.isna(noise) else noise)
        for ratio, low, high, noise in frame[list(RATIO)].itertuples(index=False)
    ]  # empty for a baseline, and where the baseline was not timed
    return frame.assign(source=str(path), backbone=frame.backbone.replace(BACKBONES))


def shown(timings: pd.DataFrame, device: str, systems: Mapping[str, System]) -> pd.DataFrame:
    """The fairest row of a device for each system that has one, found by its full-size model's architecture, with its
    name as `model`; the ratio is NaN where it is to another convolution than the system's own baseline's.
    """
    best = fairest(timings[timings.device == device], systems)
    wanted = []
    for name, one in systems.items():
        own = [systems[other].model.convolution for other in one.compared_with[:1] if other in systems]
        wanted.append((name, *architecture(one), own[0] if own else None))
    found = pd.DataFrame(wanted, columns=["model", *rows.ARCHITECTURE, "own_baseline"])
    found = found.merge(best, on=[*rows.ARCHITECTURE])
    same = found.own_baseline.isna() | (found.own_baseline == found.baseline)
    of_ratio = {name: found[name].where(same) for name in RATIO[: len(rows.INTERVAL)]}
    return found.assign(**of_ratio, in_words=found.in_words.where(same, "")).drop(columns="own_baseline")


def fairest(timings: pd.DataFrame, systems: Mapping[str, System]) -> pd.DataFrame:
    """Of one device's rows those, one an architecture, that compare best with the paper's throughput column.

    The paper's code uses no mixed precision, no compiler and no fusing, and counts what its layers do in evaluation:
    inference, exact float32, eager, not fused, 527 classes. Of those, what the latest commit timed. The paper names
    neither batch nor memory layout: of the layouts the one in which the models are fastest (geometric mean), each at
    the largest batch at which as many as possible ran. Empty where none of the systems' architectures was timed so.
    """
    plain = _of_architectures(timings[(timings[list(PLAIN)] == pd.Series(PLAIN)).all(axis=1)], systems)
    groups = [one for _, one in plain.groupby(["channels_last", "batch"])]
    most = max(map(len, groups), default=0)
    whole = [one for one in groups if len(one) == most]
    if not whole:
        return timings.head(0)
    latest = set(max(whole, key=lambda one: one.date.max()).revision)
    whole = [one for one in whole if set(one.revision) == latest]
    largest = {one.channels_last.iloc[0]: one for one in whole}  # the last of each layout
    return max(largest.values(), key=lambda one: float(np.log(one.throughput).mean())).reset_index(drop=True)


def architecture(system: System) -> tuple[str, str]:
    """The backbone by the paper's name, and the convolution in words: what decides speed."""
    return BACKBONES[system.model.backbone], system.model.convolution


def _of_architectures(timings: pd.DataFrame, systems: Mapping[str, System]) -> pd.DataFrame:
    """The rows of the systems' architectures."""
    wanted = pd.DataFrame({architecture(one) for one in systems.values()}, columns=[*rows.ARCHITECTURE])
    return timings.merge(wanted, on=[*rows.ARCHITECTURE])


def sweep(timings: pd.DataFrame, shown: pd.DataFrame) -> pd.DataFrame:
    """The rows of the shown device, condition and architectures, of every mode and batch; throughput is NaN where
    memory ended."""
    alike = [name for name in rows.CONDITION if name not in ("mode", "batch")]
    found = timings.merge(shown[[*rows.ARCHITECTURE, *alike]].drop_duplicates(), on=[*rows.ARCHITECTURE, *alike])
    return found[found.status.isin([rows.OK, rows.OUT_OF_MEMORY])].reset_index(drop=True)


def breakdown(files: Files, device: str, systems: Mapping[str, System]) -> pd.DataFrame:
    """Where a step's time goes on a device: throughput.rows.BREAKDOWN; empty where that was not profiled."""
    path = breakdown_file(device)
    if files.read(path) is None:
        return pd.DataFrame(columns=[*rows.BREAKDOWN, "source"])
    text = ("backbone", "convolution", "device", "mode", "precision", "part", "revision", "dirty", "date")
    found = files.csv(path, rows.BREAKDOWN, text, REMEDY)
    found = found.assign(source=str(path), backbone=found.backbone.replace(BACKBONES))
    return _of_architectures(found, systems)


def condition_of(row: pd.Series) -> Condition:
    flags = {name: bool(row[name]) for name in FLAGS}
    given = {"device": row.device, "mode": row["mode"], "precision": row.precision}
    numbers = {"batch": int(row.batch), "classes": int(row.classes)}
    return Condition(**given, **flags, **numbers, baseline_depthwise=row.baseline_depthwise)  # type: ignore[arg-type]
