"""Timing steps that take turns, in a random order within each round, so that what else the machine does meets all."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch

from harness.throughput.outcome import attempt

LEAST, MOST = 5, 100  # rounds
PATIENCE = 3  # how many times as long, at most, until enough rounds are undisturbed
TICK = 0.01  # seconds, the grain of /proc/stat
FEW = 0.03  # of the processor's time


def take_turns(
    steps: Mapping[str, Callable[[], object]], device: torch.device, seconds: float
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Seconds of every step, float64 (rounds,) by name, and why the others failed; steps must be warm.

    Rounds go on for `seconds`, but at least LEAST and at most MOST. A step that fails is left out from then on. On a
    virtual machine, rounds in which other guests took processor time away (FEW of it) do not count if LEAST others do,
    and rounds go on up to PATIENCE times as long for them.
    """
    random = np.random.default_rng(0)
    taken: dict[str, list[float]] = {name: [] for name in steps}
    disturbed: list[bool] = []
    failed: dict[str, str] = {}
    begun = time.perf_counter()
    while not _enough(disturbed, time.perf_counter() - begun, seconds):
        round_begun, stolen_before = time.perf_counter(), stolen_seconds()
        for name in random.permutation([name for name in steps if name not in failed]).tolist():
            one, reason = attempt(lambda name=name: timed(steps[name], device))  # type: ignore[misc]
            if one is None:
                failed[name] = reason
            else:
                taken[name].append(one)
        processor_time = (time.perf_counter() - round_begun) * (os.cpu_count() or 1)
        disturbed.append(stolen_seconds() - stolen_before > FEW * processor_time + TICK)
    quiet = ~np.array(disturbed)
    counted = quiet if quiet.sum() >= LEAST else np.full(len(disturbed), True)
    return {name: np.array(values)[counted] for name, values in taken.items() if name not in failed}, failed


def _enough(disturbed: list[bool], elapsed: float, seconds: float) -> bool:
    done, quiet = len(disturbed), disturbed.count(False)
    late = elapsed >= PATIENCE * seconds and done >= PATIENCE * LEAST
    return done >= MOST or (done >= LEAST and elapsed >= seconds and (quiet >= LEAST or late))


def stolen_seconds() -> float:
    """Processor time since the start that other guests of the host had in this one's stead; 0.0 where nobody counts."""
    try:
        return int(Path("/proc/stat").read_text().split(maxsplit=9)[8]) / os.sysconf("SC_CLK_TCK")
    except OSError:
        return 0.0


def timed(step: Callable[[], object], device: torch.device) -> float:
    """Seconds until the device has done the step."""
    synchronize(device)
    started = time.perf_counter()
    step()
    synchronize(device)
    return time.perf_counter() - started


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":  # CUDA calls return before the work is done
        torch.cuda.synchronize(device)
