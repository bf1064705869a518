"""PyTorch's profiler, for its raw events: `profile.events()` takes a minute for a step of some hundred thousand."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile


def recorded(work: Callable[[], object], device: torch.device, memory: bool = False) -> list[Any]:
    """The profiler's events while `work` runs; with `memory` also one for every piece taken or given back."""
    activities = [ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of cycles, of which there is one
        with profile(activities=activities, profile_memory=memory) as profiler:
            work()
    assert profiler.profiler is not None and profiler.profiler.kineto_results is not None
    return profiler.profiler.kineto_results.events()
