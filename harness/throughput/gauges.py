"""What a step takes besides time: memory and energy of a GPU. None on a CPU, where neither can be told by model."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from harness.throughput.rounds import synchronize

ENERGY_SECONDS = 1.0  # NVML's counter moves some ten times a second
MIB = 2**20


def memory_in_use(device: torch.device) -> int:
    """Bytes of all tensors on a GPU; 0 on a CPU."""
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else 0


def peak_memory(step: Callable[[], object], device: torch.device, before: int) -> float | None:
    """MiB at the peak of a step above `before`, the bytes in use before its model was built; None on a CPU."""
    if device.type != "cuda":
        return None
    synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    step()
    synchronize(device)
    return (torch.cuda.max_memory_allocated(device) - before) / MIB


def joules(step: Callable[[], object], device: torch.device) -> float | None:
    """Joules that the whole GPU takes for a step; None without NVML (package nvidia-ml-py), or where it says none."""
    if device.type != "cuda":
        return None
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
        pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except pynvml.NVMLError:  # not permitted, or not on this generation
        return None
    synchronize(device)
    begun, before, steps = time.perf_counter(), pynvml.nvmlDeviceGetTotalEnergyConsumption(handle), 0
    while time.perf_counter() - begun < ENERGY_SECONDS:
        step()
        synchronize(device)
        steps += 1
    return (pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) - before) / 1000 / steps  # it counts millijoules
