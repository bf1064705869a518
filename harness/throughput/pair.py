"""A model and its baseline under one condition: timed in turn, with the baseline once more for the noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

import dcls
from harness.config.params import Params
from harness.config.systems import Model
from harness.counting.operations import counts
from harness.throughput import contenders, gauges, rows
from harness.throughput.condition import Condition
from harness.throughput.machine import Machine, now
from harness.throughput.outcome import attempt
from harness.throughput.rounds import take_turns
from harness.throughput.statistics import median_interval, noise_of, percentile

BASELINE, AGAIN, MODEL = "baseline", "the baseline again", "model"


@dataclass(frozen=True)
class Measured:
    """The rows of baseline and model (see rows.COLUMNS) and, for each, what `dcls` chose for its convolutions."""

    rows: tuple[dict[str, Any], ...]
    choices: tuple[list[dict[str, Any]], ...]

    @property
    def out_of_memory(self) -> bool:
        return any(row["status"] == rows.OUT_OF_MEMORY for row in self.rows)


@dataclass(frozen=True)
class Warm:
    """A contender after its first steps, the MiB that one takes if it was weighed, and the convolutions chosen."""

    step: Callable[[], object]
    fusion: str
    peak_memory: float | None
    choices: list[dict[str, Any]]


def measure(
    model: Model, baseline: Model, condition: Condition, params: Params, machine: Machine, seconds: float
) -> Measured:
    """Time a model and its baseline, both at full size; rounds go on for `seconds` (see `take_turns`).

    What does not fit into memory, or fails otherwise, becomes a row that says so.
    """
    torch.compiler.reset()
    warm, failed = {}, {}
    for name, built in ((BASELINE, baseline), (AGAIN, baseline), (MODEL, model)):
        one, reason = attempt(partial(_warm, built, condition, params, machine.device, name != AGAIN))
        if one is None:
            failed[name] = reason
        else:
            warm[name] = one
    taken, dropped = take_turns({name: one.step for name, one in warm.items()}, machine.device, seconds)
    failed |= dropped
    noise = noise_of(taken[AGAIN] / taken[BASELINE]) if {AGAIN, BASELINE} <= set(taken) else None
    made = tuple(
        {
            **rows.key_cells(built, condition),
            **_cells(warm.get(name), condition, machine.device, taken.get(name), failed.get(name)),
            **(_ratio(taken, baseline) if name == MODEL else {}),
            **_counts(built),
            **machine.made_by,
            "positions": contenders.POSITIONS if built.dcls else None,
            "no_difference_below": noise,
            "date": now(),
        }
        for name, built in ((BASELINE, baseline), (MODEL, model))
    )
    return Measured(made, tuple(warm[name].choices if name in taken else [] for name in (BASELINE, MODEL)))


def _warm(model: Model, condition: Condition, params: Params, device: torch.device, weighed: bool) -> Warm:
    before = gauges.memory_in_use(device) if weighed else 0
    contender = contenders.prepare(model, condition, params, device)
    dcls.forget_convolution_choices()
    contender.step()  # compiles, chooses convolutions, allocates
    chosen = dcls.convolution_choices()
    contender.model.zero_grad(set_to_none=True)  # as the next step does first: they are not held beside new ones
    peak = gauges.peak_memory(contender.step, device, before) if weighed else None
    return Warm(contender.step, contender.fusion, peak, chosen)


def _cells(
    warm: Warm | None, condition: Condition, device: torch.device, seconds: np.ndarray | None, failed: str | None
) -> dict[str, Any]:
    """Status and times of a row, in the order of their columns; empty where there are none."""
    cells: dict[str, Any] = dict.fromkeys(rows.COLUMNS[len(rows.KEY) :])
    cells["status"] = failed or rows.OK
    if warm is None or seconds is None:
        return cells
    median, low, high = median_interval(seconds)
    cells["throughput"], cells["throughput_low"], cells["throughput_high"] = (
        condition.batch / one for one in (median, high, low)
    )
    cells |= {"seconds": median, "rounds": len(seconds), "peak_memory_mib": warm.peak_memory}
    if condition.batch == 1:
        cells |= {f"latency_p{percent}_ms": _milliseconds(seconds, percent) for percent in (50, 95, 99)}
    drawn, _ = attempt(lambda: gauges.joules(warm.step, device))
    cells["joules_per_clip"] = drawn / condition.batch if drawn is not None else None
    return cells | {"fusion": warm.fusion, "convolutions": in_short(warm.choices)}


def _milliseconds(seconds: np.ndarray, percent: int) -> float | None:
    found = percentile(seconds, percent)
    return None if found is None else 1000 * found


def _ratio(taken: dict[str, np.ndarray], baseline: Model) -> dict[str, Any]:
    """Speed of the model over its baseline's, round by round; nothing where one of them was not timed."""
    if not {BASELINE, MODEL} <= set(taken):
        return {}
    found = median_interval(taken[BASELINE] / taken[MODEL])
    ratios = {f"ratio_to_baseline{end}": value for end, value in zip(rows.INTERVAL, found, strict=True)}
    return {"baseline": baseline.convolution, **ratios}


def _counts(model: Model) -> dict[str, int]:
    found = counts(model)
    parameters = {f"parameters_{classes}": count for classes, count in found.parameters.items()}
    return parameters | {"macs": found.macs, "macs_dense_kernels": found.macs_dense_kernels}


def in_short(choices: list[dict[str, Any]]) -> str:
    """`convolution: fft 1, torch_channels_last 3; kernel_gradient: fft 4`: shapes by the way that was chosen."""
    found: dict[str, dict[str, int]] = {}
    for one in choices:
        ways = found.setdefault(one["operation"], {})
        ways[one["backend"]] = ways.get(one["backend"], 0) + 1
    return "; ".join(
        f"{operation}: {', '.join(f'{way} {count}' for way, count in sorted(ways.items()))}"
        for operation, ways in found.items()
    )
