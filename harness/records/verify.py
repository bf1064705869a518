"""`python -m harness verify`: whether the results that lie here equal those of the commit that is checked out."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.base import paths
from harness.base.errors import UserError
from harness.config.params import Params
from harness.config.systems import LINEAR_BASELINE
from harness.records.git_history import git

# How far a number may be from the committed one and still count as reproduced: what other processors were seen to give
# for models without batch norm (docs/processors.md). Absolute, in a loss, an mAP of [0, 1], or cells.
TOLERANCE = 5e-4
RECORDS = ("run.json", "evaluation.json", "comparison.run.json", "parameters.run.json")  # of what made a result


@dataclass(frozen=True)
class Difference:
    """The number of a file that is furthest from the committed one; `distance` is infinite where texts differ."""

    file: str
    place: str
    distance: float


def verify(params: Params, summary: bool = False) -> int:
    """Print a line a run, or one line in all; the exit status, 1 where something differs.

    Raises UserError where there is no Git history to compare with, or a result is missing.
    """
    changed = _changed(paths.results(params.preset))
    same, near, apart = 0, 0, 0
    names = [f"{model}-{seed}" for model in params.models for seed in params.seeds]
    names += [f"{LINEAR_BASELINE}-{seed}" for seed in params.linear_baseline_seeds]
    for name in names:
        folder = paths.results(params.preset) / "runs" / name
        if not folder.is_dir():
            raise UserError(f"{folder}: missing; run `make repro` first")
        moved = [path for path in changed if folder in path.parents and path.name not in RECORDS]
        furthest = max(map(_difference, moved), key=lambda one: one.distance, default=None)
        if furthest is None:
            same += 1
            said = "same bits"
        elif furthest.distance <= TOLERANCE:
            near += 1
            said = f"within {TOLERANCE:g} ({furthest.file}, {furthest.place}: {furthest.distance:.2g})"
        else:
            apart += 1
            by = "text" if math.isinf(furthest.distance) else f"by {furthest.distance:.3g}"
            said = f"differs ({furthest.file}, {furthest.place}: {by})"
        if not summary:
            print(f"{name}: {said}")
    if near or apart:
        for line in _made_differently(params.preset, changed):
            print(line)
    print(_in_one_line(len(names), same, near, apart))
    return 1 if apart else 0


def _in_one_line(count: int, same: int, near: int, apart: int) -> str:
    if same == count:
        return f"reproduced: {count} of {count} runs to the bit"
    parts = [f"{same} of {count} runs to the bit"]
    parts += [f"{near} within {TOLERANCE:g}"] if near else []
    parts += [f"{apart} differ from the commit (`make verify` says where)"] if apart else []
    return f"{'not all ' if apart else ''}reproduced: {', '.join(parts)}"


def _changed(folder: Path) -> list[Path]:
    """Files below `folder` that are not as committed, those that are gone or new among them."""
    listing = git("status", "--porcelain", "-z", "--untracked-files=all", "--no-renames", "--", str(folder))
    return [Path(entry[3:].decode()) for entry in listing.split(b"\0") if entry]


def _difference(path: Path) -> Difference:
    try:
        old, new = _numbers(git("show", f"HEAD:./{path.as_posix()}"), path), _numbers(path.read_bytes(), path)
    except (UserError, OSError):
        return Difference(path.name, "only on one side", math.inf)
    if old.keys() != new.keys():
        return Difference(path.name, f"{len(new)} values, {len(old)} in the commit", math.inf)
    distances = {place: _distance(old[place], new[place]) for place in old}
    place = max(distances, key=lambda one: distances[one], default="")
    return Difference(path.name, place, distances.get(place, 0.0))


def _distance(old: Any, new: Any) -> float:
    if isinstance(old, float) and isinstance(new, float):
        return abs(new - old)
    return 0.0 if old == new else math.inf


def _numbers(content: bytes, path: Path) -> dict[str, Any]:
    """Every value of a JSON or CSV file by its place in it: numbers as floats, else as text."""
    if path.suffix == ".json":
        return dict(_leaves(json.loads(content), ""))
    rows = csv.DictReader(io.StringIO(content.decode()))
    return {
        f"row {number}, {name}": _number(cell) for number, row in enumerate(rows, start=1) for name, cell in row.items()
    }


def _leaves(value: Any, place: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in items:
            yield from _leaves(inner, f"{place}.{key}" if place else str(key))
    else:
        yield place, float(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _number(cell: str) -> Any:
    try:
        return float(cell)
    except (TypeError, ValueError):
        return cell


def _made_differently(preset: str, changed: list[Path]) -> Iterator[str]:
    """What is not the same in the records: the processor's instructions, the libraries, the code."""
    for path in changed:
        if path.name in RECORDS and path.exists():
            old, new = (_numbers(content, path) for content in (git("show", f"HEAD:./{path}"), path.read_bytes()))
            said = [
                f"{key} is {new.get(key)}, was {old.get(key)}"
                for key in sorted(old | new)
                if old.get(key) != new.get(key)
            ]
            yield f"{path.relative_to(paths.results(preset))}: {'; '.join(said[:5])}"
            return  # one stands for all: they were made by one command
