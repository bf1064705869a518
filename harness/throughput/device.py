"""Under which name a device's timings are kept. Imports neither NumPy nor PyTorch, since reports ask too."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from harness.base import paths


def label(hardware: dict[str, Any], on_gpu: bool) -> str:
    """The device of a machine (results/hardware.json): its first GPU, or `PROCESSOR, N cores`."""
    return str(hardware["gpus"][0]) if on_gpu else f"{hardware['processor']}, {hardware['cores']} cores"


def slug(device: str) -> str:
    """The label as a file name: `intel-xeon-processor-2-cores`."""
    plain = re.sub(r"\((r|tm)\)", " ", device.lower())
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")


def timings_file(device: str) -> Path:
    return paths.THROUGHPUT / f"{slug(device)}.csv"


def breakdown_file(device: str) -> Path:
    return paths.THROUGHPUT / f"{slug(device)}.breakdown.csv"


def choices_file(device: str) -> Path:
    return paths.THROUGHPUT / f"{slug(device)}.choices.json"
