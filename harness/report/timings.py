"""Timings of the full-size models: the rows of results/throughput, and which of them stand beside the paper's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from statistics import geometric_mean
from typing import Any

from harness.base import paths
from harness.base.errors import UserError
from harness.base.files import read_json
from harness.config.params import Dcls
from harness.config.systems import CLASS_COUNTS, MODELS, is_dcls
from harness.throughput import rows
from harness.throughput.condition import Condition
from harness.throughput.device import label, timings_file
from harness.throughput.verdict import in_words

PLAIN = {"mode": "inference", "precision": "float32", "compiled": "no", "fused": "no", "classes": str(CLASS_COUNTS[0])}


@dataclass(frozen=True)
class Timing:
    """A row of results/throughput as numbers: clips/s and DCLS over baseline, each with its 95% interval.

    `ratio` and its interval are None for a baseline; `noise` is the difference below which there is none;
    `parameters` are by number of classes; `record` says what made it, like the records beside other results.
    """

    model: str
    condition: Condition
    throughput: float
    low: float
    high: float
    ratio: float | None
    ratio_low: float | None
    ratio_high: float | None
    noise: float | None
    parameters: dict[int, int]
    record: dict[str, Any]

    @property
    def dcls(self) -> Dcls:
        """Those of the pair, which stand in the baseline's row too."""
        return Dcls(**self.record["parameters"]["dcls"])

    @property
    def verdict(self) -> str:
        """In words; empty for a baseline."""
        if self.ratio is None or self.ratio_low is None or self.ratio_high is None:
            return ""
        return in_words(self.ratio, self.ratio_low, self.ratio_high, self.noise)


def load_timings(dcls: Dcls) -> dict[str, Timing]:
    """The fairest timing of each of the six models on the machine of results/hardware.json.

    Raises UserError, saying what to run, where its file or the rows of all six with these DCLS parameters are missing.
    """
    path = current_file()
    found = fairest(parse(str(path), rows.read(path), dcls))
    if not found:
        raise UserError(
            f"{path}: {'missing' if not path.is_file() else f'no float32 inference of all six models with {dcls}'}; "
            "run `python -m harness throughput`"
        )
    return found


def current_file() -> Path:
    """The file of the machine of results/hardware.json: of its GPU where it has one, else of its processor."""
    hardware = read_json(paths.HARDWARE)
    try:
        devices = [label(hardware, on_gpu) for on_gpu in ([True, False] if hardware["gpus"] else [False])]
    except (KeyError, TypeError) as error:
        raise UserError(f"{paths.HARDWARE}: no {error} in it; run `python -m harness hardware`") from error
    files = [timings_file(device) for device in devices]
    return next((path for path in files if path.is_file()), files[0])  # with a CPU build of torch a GPU is not used


def fairest(timings: Iterable[Timing]) -> dict[str, Timing]:
    """By model, the timings that compare best with the paper's throughput column; empty where six have none in common.

    The paper's code uses no mixed precision, no compiler and no fusing, and counts what its layers do in evaluation:
    inference, exact float32, eager, not fused, 527 classes. Of those, what the latest commit timed. The paper names
    neither batch nor memory layout: of the layouts the one in which the six are fastest (geometric mean), each at the
    largest batch at which all six ran.
    """
    plain = [one for one in timings if all(rows.text(getattr(one.condition, key)) == PLAIN[key] for key in PLAIN)]
    whole = []
    for _, group in groupby(sorted(plain, key=_layout_and_batch), _layout_and_batch):
        by_model = {one.model: one for one in group}
        if set(by_model) == set(MODELS):
            whole.append(by_model)
    latest = _revisions(max(whole, key=_finished)) if whole else set()
    whole = [one for one in whole if _revisions(one) == latest]
    largest = {next(iter(one.values())).condition.channels_last: one for one in whole}  # the last of each layout
    return max(largest.values(), key=_speed) if largest else {}


def parse(name: str, cells: Iterable[Mapping[str, str]], dcls: Dcls | None = None) -> list[Timing]:
    """Rows that were timed, of these DCLS parameters (None: of any).

    A row of a DCLS model whose baseline did not run has no ratio, and is left out. Raises UserError, naming file and
    model, for a row that is damaged.
    """
    wanted = {} if dcls is None else {key: rows.text(getattr(dcls, key)) for key in rows.DCLS}
    found = []
    for row in cells:
        if row["status"] != rows.OK or any(row[key] != value for key, value in wanted.items()):
            continue
        if is_dcls(row["model"]) and not row["ratio_to_baseline"]:
            continue
        try:
            found.append(_timing(row))
        except (KeyError, ValueError) as error:
            raise UserError(f"{name}: row of {row['model']}: {error}; restore it from Git, or measure again") from error
    return found


def device_files() -> Iterator[Path]:
    """Of every device that was timed, by name."""
    return (path for path in sorted(paths.THROUGHPUT.glob("*.csv")) if not path.name.endswith(".breakdown.csv"))


def _timing(row: Mapping[str, str]) -> Timing:
    condition = condition_of(row)
    return Timing(
        model=row["model"],
        condition=condition,
        throughput=float(row["throughput"]),
        low=float(row["throughput_low"]),
        high=float(row["throughput_high"]),
        ratio=_number(row["ratio_to_baseline"]),
        ratio_low=_number(row["ratio_to_baseline_low"]),
        ratio_high=_number(row["ratio_to_baseline_high"]),
        noise=_number(row["no_difference_below"]),
        parameters={classes: int(row[f"parameters_{classes}"]) for classes in CLASS_COUNTS},
        record={
            "device": row["device"],
            "condition": condition.words,
            "precision": row["precision"],
            "threads": row["threads"],
            "gpu": row["gpu"] or None,
            "code": {"revision": row["revision"] or None, "dirty": {"yes": True, "no": False}.get(row["dirty"])},
            "versions": {name: row[name] or None for name in ("python", "torch", "timm", "triton")},
            "parameters": {
                "dcls": {
                    "kernel_count": int(row["kernel_count"]),
                    "dilated_kernel_size": int(row["dilated_kernel_size"]),
                    "version": row["version"],
                }
            },
            "finished": row["date"],
        },
    )


def condition_of(row: Mapping[str, str]) -> Condition:
    """Raises ValueError where a cell is none of a condition's."""
    flags = {name: {"yes": True, "no": False}.get(row[name]) for name in ("compiled", "channels_last", "fused")}
    if None in flags.values():
        raise ValueError(f"{flags} must be yes or no")
    numbers = {name: int(row[name]) for name in ("batch", "classes")}
    way = row["baseline_depthwise"]
    return Condition(row["device"], row["mode"], row["precision"], **flags, **numbers, baseline_depthwise=way)  # type: ignore[arg-type]


def _number(cell: str) -> float | None:
    return float(cell) if cell else None


def _layout_and_batch(timing: Timing) -> tuple[bool, int]:
    return timing.condition.channels_last, timing.condition.batch


def _speed(by_model: dict[str, Timing]) -> float:
    return geometric_mean(one.throughput for one in by_model.values())


def _revisions(by_model: dict[str, Timing]) -> set[str | None]:
    return {one.record["code"]["revision"] for one in by_model.values()}


def _finished(by_model: dict[str, Timing]) -> str:
    return max(one.record["finished"] for one in by_model.values())
