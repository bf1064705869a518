"""What made a result: recorded beside every number."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from harness.base import paths
from harness.base.files import read_json, write_json
from harness.config.params import Params
from harness.records.code_closure import stage_fingerprint
from harness.records.git_history import code_revision
from harness.records.schemas import RECORDS, SCHEMA_VERSION, Log, checked

LIBRARIES = ("torch", "torchaudio", "timm", "numpy", "scikit-learn", "soundfile", "soxr")
STAGE_OF = {  # that writes each kind of record
    "training": "train",
    "evaluation": "evaluate",
    "linear_baseline": "linear-baseline",
    "comparison": "compare-models",
    "examples": "examples",
    "parameters": "count-parameters",
}


def provenance(
    kind: str,
    parameters: dict[str, Any],
    data_fingerprint: str,
    device: str,
    precision: str = "float32",
    **more: Any,
) -> dict[str, Any]:
    """The record of a result, as `schemas.RECORDS[kind]` has it; `parameters` are those that the result depends on."""
    content = {
        "schema_version": SCHEMA_VERSION,
        "kind": kind,
        "instruction_set": None,
        **more,
        "parameters": parameters,
        "data_fingerprint": data_fingerprint,
        "code_fingerprint": stage_fingerprint(STAGE_OF[kind]),
        "versions": {"python": platform.python_version(), **versions(*LIBRARIES)},
        "device": device,
        "precision": precision,
    }
    return checked(RECORDS[kind], content)


def write_log(preset: str, name: str, seconds: float | None = None, **more: Any) -> None:
    """What is true of this run alone (schemas.Log), into runs/PRESET/NAME.log.json."""
    content = run_context() | {"seconds": None if seconds is None else round(seconds, 1), "host": hardware(), **more}
    write_json(paths.log(preset, name), checked(Log, content))


def run_context() -> dict[str, Any]:
    """When, by which command, and from which commit of the repository something is computed."""
    return {
        "command": " ".join(["python", "-m", "harness", *sys.argv[1:]]),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        **code_revision(),
    }


def benchmark_record(command: str, parameters: dict[str, Any], device: str, **more: Any) -> dict[str, Any]:
    """What made the numbers of a benchmark, which belong to a machine and a moment."""
    return {
        "parameters": parameters,
        **more,
        "versions": {"python": platform.python_version(), **versions(*LIBRARIES)},
        "device": device,
        "hardware": hardware(),
        **run_context(),
        "command": command,
    }


def data_fingerprint(params: Params) -> str:
    """What `featurize` wrote down of the packed clips. Raises UserError where there are none."""
    return read_json(paths.packed(params.preset) / "summary.json")["fingerprint"]


def stage_parameters(params: Params, model: str) -> dict[str, Any]:
    """What a training run depends on; dvc.yaml lists the same keys."""
    return {
        "preset": params.preset,
        "data": data_parameters(params),
        "train": as_plain(params.train),
        "model": as_plain(params.systems[model].model),
        "schedule": as_plain(params.systems[model].schedule),
    }


def evaluation_parameters(params: Params, model: str) -> dict[str, Any]:
    """What the evaluation of a run depends on: the clips in a forward pass are not in it, as they change no number."""
    return stage_parameters(params, model) | {"evaluate": {"bootstrap": params.evaluate.bootstrap}}


def data_parameters(params: Params) -> dict[str, Any]:
    """The data section but for where the user's files lie, which the fingerprint stands for, and what may be bad."""
    left_out = ("mirror", "audioset", "max_bad_fraction")
    return {key: value for key, value in as_plain(params.data).items() if key not in left_out}


def fingerprint_of(parameters: Any, files: Iterable[Path] = ()) -> str:
    """SHA-256 over parameters (a JSON value) and the content of files."""
    digest = hashlib.sha256(json.dumps(parameters, sort_keys=True).encode())
    for path in sorted(files):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def as_plain(section: BaseModel) -> dict[str, Any]:
    """The parameters, or a section of them, as JSON values."""
    return section.model_dump(mode="json")


def hardware() -> dict[str, Any]:
    """What timings depend on: processor, cores, GPUs, operating system, PyTorch. Imports nothing heavy."""
    return {
        "schema_version": SCHEMA_VERSION,
        "processor": processor_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "gpus": _gpus(),
        "system": f"{platform.system()} {platform.machine()}",
        "torch": _version("torch"),
    }


def processor_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return " ".join(line.partition(":")[2].split())
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _gpus() -> list[str]:
    if not shutil.which("nvidia-smi"):
        return []
    listing = subprocess.run(
        ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"], capture_output=True, text=True, check=False
    )
    return [line.strip() for line in listing.stdout.splitlines() if line.strip()] if listing.returncode == 0 else []


def versions(*names: str) -> dict[str, str | None]:
    """Installed version by package; None where it is not there."""
    return {name: _version(name) for name in names}


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
