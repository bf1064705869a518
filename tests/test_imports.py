"""What a command imports before it does anything: seconds of each of the pipeline's many processes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from harness.__main__ import COMMANDS
from harness.records.code_closure import STAGES
from tests.conftest import ROOT

MODULES = {command: module for command, (module, _) in (STAGES | COMMANDS).items()}
MODELS = {"torchvision", "timm"}
HEAVY = MODELS | {"torch", "torchaudio", "sklearn", "pandas", "matplotlib", "scipy", "numpy", "pydantic", "dvc"}
ON_MODELS = {"train", "import-checkpoint", "replay", "evaluate", "count-parameters", "throughput", "predict", "export"}
ON_TORCH = {"linear-baseline", "examples"}  # which compute log-mels


def imported(*arguments: str) -> set[str]:
    """The top-level packages that a Python with these arguments imports."""
    command = [sys.executable, "-X", "importtime", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    lines = (line for line in done.stderr.splitlines() if line.startswith("import time:"))
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


@pytest.mark.parametrize("command", ["--help", *([name, "--help"] for name in ("train", "tables", "compare"))], ids=str)
def test_help_imports_next_to_nothing(command: str | list[str]) -> None:
    given = [command] if isinstance(command, str) else command
    assert not imported("-m", "harness", *given) & HEAVY


@pytest.mark.parametrize("command", sorted(MODULES.keys() - ON_MODELS))
def test_what_reads_results_or_data_imports_no_models(command: str) -> None:
    found = imported("-c", f"import {MODULES[command]}")
    assert not found & (MODELS if command in ON_TORCH else MODELS | {"torch", "torchaudio", "sklearn"})
    assert found & HEAVY  # else nothing was seen
