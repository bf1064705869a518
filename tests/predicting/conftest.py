"""A run of each backbone, trained for an epoch on real files."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from harness.config.params import Params, load
from harness.evaluation.evaluate import evaluate
from harness.training.train import train
from tests.training.conftest import featurized, folder_with

__all__ = ["featurized"]
NAMES = ("convnext_dcls_audio_tiny", "convformer_dcls_audio_s18", "fastvit_dcls_audio_sa24")


@pytest.fixture(scope="session")
def trained(featurized: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Params]:
    """The folder and its parameters; the first run is evaluated too."""
    folder = folder_with(featurized, tmp_path_factory.mktemp("predicting") / "here", models=list(NAMES))
    (folder / "sounds").symlink_to(featurized / "sounds")
    with contextlib.chdir(folder):
        params = load(Path("params.yaml"))
        one_epoch = {name: _short(system) for name, system in params.systems.items()}
        params = params.model_copy(update={"systems": one_epoch})
        for name in NAMES:
            train(params, name, 0)
            evaluate(params, name, 0)
    return folder, params


def _short(system):
    return system.model_copy(update={"schedule": system.schedule.model_copy(update={"epochs": 1})})
