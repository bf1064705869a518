"""What is timed: a condition, and all the conditions of a sweep in the order of their weight."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import product

from harness.config.systems import CLASS_COUNTS

MODES = ("inference", "training")
TORCH, QUICK = "torch", "dcls"  # how a baseline's depthwise convolutions train


@dataclass(frozen=True)
class Condition:
    """One way to run a full-size model: the columns of a row that say what was timed.

    `device` is a product's name (see `device.label`); `batch` is in clips of log-mel (1, 128, 1001); `fused` is for
    inference alone. `baseline_depthwise` is whose backward pass the baseline's 7x7 depthwise convolutions have: torch's
    own, or, in training on a CPU, the quick one of `dcls.use_quick_backward`.
    """

    device: str
    mode: str
    precision: str
    compiled: bool
    channels_last: bool
    fused: bool
    batch: int
    classes: int = CLASS_COUNTS[0]
    baseline_depthwise: str = TORCH

    @property
    def words(self) -> str:
        """`inference, float32, eager, channels_last, batch 4`."""
        parts = [
            self.mode,
            self.precision,
            "compiled" if self.compiled else "eager",
            "channels_last" if self.channels_last else "contiguous",
            *(["fused"] if self.fused else []),
            *(["baseline with dcls's backward"] if self.baseline_depthwise == QUICK else []),
            f"batch {self.batch}",
        ]
        return ", ".join(parts)


def plain_conditions(device: str, inference_batches: Iterable[int], training_batches: Iterable[int]) -> list[Condition]:
    """What the pipeline's stage times: float32, eager, channels_last, not fused; every batch, largest first."""
    batches = {"inference": inference_batches, "training": training_batches}
    return [
        Condition(device, mode, "float32", compiled=False, channels_last=True, fused=False, batch=batch)
        for mode in MODES
        for batch in sorted(set(batches[mode]), reverse=True)
    ]


def all_conditions(
    device: str, precisions: Iterable[str], inference_batches: Iterable[int], training_batches: Iterable[int]
) -> list[Condition]:
    """Every condition of these precisions: first the plain ones, those that take minutes to compile last."""
    plain = plain_conditions(device, inference_batches, training_batches)
    ways = product((False, True), (False, True), (True, False), precisions)
    varied = [
        replace(one, fused=fused, channels_last=channels_last, compiled=compiled, precision=precision)
        for compiled, fused, channels_last, precision in ways
        for one in plain
        if not fused or one.mode == "inference"
    ]
    return list(dict.fromkeys([*plain, *varied]))


def with_quick_baselines(conditions: Iterable[Condition]) -> list[Condition]:
    """For a CPU: every condition of training twice, against torch's own baseline and against the quick one."""
    return [
        replace(one, baseline_depthwise=way)
        for one in conditions
        for way in ((TORCH, QUICK) if one.mode == "training" else (TORCH,))
    ]
