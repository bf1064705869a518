"""What a step takes besides time: memory, and the energy of a GPU."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from harness.throughput.profiler import recorded
from harness.throughput.rounds import synchronize

ENERGY_SECONDS = 1.0  # NVML's counter moves some ten times a second
MIB = 2**20


def memory_in_use(device: torch.device) -> int:
    """Bytes of all tensors there are on the device."""
    gc.collect()
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    tensors = [one for one in gc.get_objects() if type(one) in (Tensor, nn.Parameter)]
    storages = [one.untyped_storage() for one in tensors if one.device == device]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


def peak_memory(step: Callable[[], object], device: torch.device, before: int) -> float:
    """MiB of tensors at the peak of a step above `before`, the bytes in use before its model was built.

    What libraries allocate for themselves, such as oneDNN, is not in it.
    """
    if device.type == "cuda":
        synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        step()
        synchronize(device)
        return (torch.cuda.max_memory_allocated(device) - before) / MIB
    held, taken, peak = memory_in_use(device), 0, 0
    events = [one for one in recorded(step, device, memory=True) if one.name() == "[memory]"]
    for one in sorted(events, key=lambda one: one.start_ns()):
        taken += one.nbytes()
        peak = max(peak, taken)
    return (held + peak - before) / MIB


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
