"""The machine that times: its device, what the device has, and the columns that say what made a row."""

from __future__ import annotations

import platform
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import torch

from harness.base.errors import UserError
from harness.models.device import default_device
from harness.records import git_history, provenance
from harness.throughput.device import label


@dataclass(frozen=True)
class Machine:
    """`label` names the device's files; `made_by` are the cells of rows.MADE_BY but the date."""

    device: torch.device
    label: str
    made_by: dict[str, Any]


def this_machine() -> Machine:
    """Raises UserError where PyTorch has a GPU that nvidia-smi does not list: the device has no name then."""
    device, hardware = default_device(), provenance.hardware()
    on_gpu = device.type == "cuda"
    if on_gpu and not hardware["gpus"]:
        raise UserError("nvidia-smi: lists no GPU, but PyTorch has one; put nvidia-smi on the PATH")
    code, versions = git_history.code_revision(), provenance.versions("torch", "timm", "triton")
    return Machine(
        device,
        label(hardware, on_gpu),
        {
            "processor": hardware["processor"],
            "threads": torch.get_num_threads(),
            "gpu": hardware["gpus"][0] if on_gpu else None,
            "driver": _driver() if on_gpu else None,
            **versions,
            "python": platform.python_version(),
            "cuda": torch.version.cuda if on_gpu else None,
            "revision": code["revision"],
            "dirty": code["dirty"],
        },
    )


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def precisions_of(device: torch.device) -> tuple[str, ...]:
    """Those that the device computes itself, and does not only emulate."""
    if device.type == "cuda":
        tensor_cores = torch.cuda.get_device_capability(device) >= (8, 0)
        return ("float32", "tf32", "bf16", "fp16") if tensor_cores else ("float32", "fp16")
    has_bf16 = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return ("float32", "bf16") if has_bf16 else ("float32",)


def _driver() -> str | None:
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    listing = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = listing.stdout.split()
    return lines[0] if listing.returncode == 0 and lines else None
