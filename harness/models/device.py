"""The device that models run on."""

from __future__ import annotations

import torch


def default_device() -> torch.device:
    """CUDA where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def instruction_set(device: torch.device) -> str | None:
    """What PyTorch computes with on a CPU, such as `AVX2`: results agree to the bit only where this does."""
    return torch.backends.cpu.get_cpu_capability() if device.type == "cpu" else None


def device_name(device: torch.device) -> str:
    """`cpu`, or the GPU's product name: what stands in a result."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
