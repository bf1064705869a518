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
from harness.base.files import read_json
from harness.config.params import Params
from harness.records.schemas import RECORDS, SCHEMA_VERSION, checked

LIBRARIES = ("torch", "torchaudio", "timm", "numpy", "scikit-learn", "soundfile", "soxr")
WRITTEN_BY_RUNS = ("results", "paper_tables", "dvc.lock", "benchmarks/results")  # not counted as changed code


def provenance(
    kind: str,
    parameters: dict[str, Any],
    data_fingerprint: str,
    device: str,
    precision: str = "float32",
    **more: Any,
) -> dict[str, Any]:
    """The record of a result, as `schemas.RECORDS[kind]` has it; `parameters` are those that the result depends on."""
    return checked(
        RECORDS[kind],
        {
            "schema_version": SCHEMA_VERSION,
            "kind": kind,
            **more,
            "parameters": parameters,
            "data_fingerprint": data_fingerprint,
            "code": code_revision(),
            "versions": {"python": platform.python_version(), **versions(*LIBRARIES)},
            "device": device,
            "precision": precision,
            "command": " ".join(["python", "-m", "harness", *sys.argv[1:]]),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        },
    )


def code_revision() -> dict[str, Any]:
    """Git revision, and whether tracked files other than results were changed; nulls outside a repository."""
    try:
        revision = _git("rev-parse", "HEAD")
        changed = _git(
            "status", "--porcelain", "--untracked-files=no", "--", ".", *(f":!{name}" for name in WRITTEN_BY_RUNS)
        )
    except (OSError, subprocess.CalledProcessError):
        return {"revision": None, "dirty": None}
    return {"revision": revision, "dirty": bool(changed)}


def data_fingerprint(params: Params) -> str:
    """What `featurize` wrote down of the packed clips. Raises UserError where there are none."""
    return read_json(paths.packed(params.preset) / "summary.json")["fingerprint"]


def stage_parameters(params: Params, model: str) -> dict[str, Any]:
    """What a training run depends on; dvc.yaml lists the same keys."""
    return {
        "preset": params.preset,
        "data": data_parameters(params),
        "dcls": as_plain(params.dcls),
        "train": as_plain(params.train),
        "model": as_plain(params.per_model[model]),
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


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout.strip()
