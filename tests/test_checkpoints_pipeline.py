"""Preset `audioset-checkpoints` through DVC: eval set and published weights to the table, without training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from harness.models.build import build_model
from tests.conftest import FULL_SIZE, MODELS
from tests.published_layout import to_published
from tests.test_pipeline import commit, edit, new_clone, run
from tests.test_weights import as_the_authors_save

CLIPS = 12


def write_eval_set(path: Path) -> None:
    random = np.random.default_rng(0)
    target = random.random((CLIPS, 527)) < 0.02
    target[:, 0] = np.arange(CLIPS) % 2 == 0
    with h5py.File(path, "w") as file:
        file["audio_name"] = np.array([f"Yclip{index:06d}.wav".encode() for index in range(CLIPS)])
        file["waveform"] = random.integers(-9000, 9000, (CLIPS, 320_000)).astype(np.int16)
        file["target"] = target


def shrink(params: dict[str, Any], folder: Path) -> None:
    params["data"]["mirror"] = str(folder)
    params["data"]["audioset"] = {"test": str(folder / "eval.h5")}
    params["evaluate"] = {"batch": 4, "bootstrap": 20}
    params["throughput"] = {"inference_batches": [1], "training_batches": [1], "seconds": 0.0}


@pytest.mark.slow
def test_published_weights_become_the_table(tmp_path: Path) -> None:
    for seed, name in enumerate(MODELS):
        torch.manual_seed(seed)
        state = build_model(FULL_SIZE[name], 527).state_dict()
        as_the_authors_save(to_published(name, state), tmp_path / f"{name}.pth")
    write_eval_set(tmp_path / "eval.h5")
    clone = new_clone(tmp_path / "clone")
    run(clone, "python", "-m", "harness", "preset", "audioset-checkpoints")
    edit(clone, lambda params: shrink(params, tmp_path))
    run(clone, "python", "-m", "harness", "hardware")
    commit(clone, "shrunk")
    run(clone, "dvc", "repro")
    results = clone / "results" / "audioset-checkpoints"
    for name in MODELS:
        record = json.loads((results / "runs" / f"{name}-0" / "training" / "run.json").read_text())
        assert record["start"]["start"] == "published" and len(record["start"]["sha256"]) == 64
        assert (
            json.loads((results / "runs" / f"{name}-0" / "evaluation" / "metrics.json").read_text())["clips"] == CLIPS
        )
    table = (clone / "paper_tables" / "audioset-checkpoints" / "table1.md").read_text()
    assert all(name in table for name in MODELS) and "published weights" in table
