"""Timing steps that take turns, in a random order within each round, so that what else the machine does meets all."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np
import torch

from harness.throughput.outcome import attempt

LEAST, MOST = 5, 100  # rounds


def take_turns(
    steps: Mapping[str, Callable[[], object]], device: torch.device, seconds: float
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Seconds of every step, float64 (rounds,) by name, and why the others failed; steps must be warm.

    Rounds go on for `seconds`, but at least LEAST and at most MOST. A step that fails is left out from then on.
    """
    random = np.random.default_rng(0)
    taken: dict[str, list[float]] = {name: [] for name in steps}
    failed: dict[str, str] = {}
    begun = time.perf_counter()
    for done in range(MOST):
        if done >= LEAST and time.perf_counter() - begun >= seconds:
            break
        for name in random.permutation([name for name in steps if name not in failed]).tolist():
            one, reason = attempt(lambda name=name: timed(steps[name], device))  # type: ignore[misc]
            if one is None:
                failed[name] = reason
            else:
                taken[name].append(one)
    return {name: np.array(values) for name, values in taken.items() if name not in failed}, failed


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
