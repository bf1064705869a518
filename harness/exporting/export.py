"""A trained run as a folder that can be used, and published, without this repository: `python -m harness export`."""

from __future__ import annotations

import csv
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np

from harness.base import paths
from harness.base.errors import UserError
from harness.base.files import read_json, sha256_of, write_json, write_text
from harness.base.folders import whole_folder
from harness.config.params import Params
from harness.data.clips.clips import open_clips
from harness.exporting.card import UNKNOWN, card, timm_config
from harness.exporting.onnx_model import largest_difference, write_onnx
from harness.predicting.weights import WEIGHTS, open_run, run_of, tagger
from harness.records.description import Description
from harness.running.checkpoint import save_weights

CHECKED = 4  # test clips


def export(params: Params, run: str, folder: Path) -> None:
    """Write `folder`: model.safetensors, config.json in timm's manner, model.onnx and a model card, README.md.

    The ONNX file is checked on test clips before the folder appears. Raises UserError where the run or the packed clips
    are missing, or `folder` holds something.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"--to: {folder} is there already; name a new folder, or delete it")
    model, about = open_run(params, run)
    about = _complete(params, run, about)
    clips = open_clips(params, "test", seed=about.seed)
    if list(about.labels) != clips.labels:
        raise UserError(f"{paths.packed(params.preset)}: has other labels than {run}; featurize what it was trained on")
    waveforms = np.stack([clips.waveform(index) for index in range(min(CHECKED, len(clips)))])
    features: Any = model.num_features
    with whole_folder(folder.absolute()) as building:
        save_weights(building / WEIGHTS, model, about.metadata())
        write_onnx(building / "model.onnx", deepcopy(model), about)
        difference = largest_difference(building / "model.onnx", tagger(model, about), waveforms)
        write_json(building / "config.json", timm_config(about, features))
        write_text(building / "README.md", card(about, difference, len(waveforms)))
    print(f"{folder}: {', '.join(sorted(path.name for path in folder.iterdir()))}")


def _complete(params: Params, run: str, about: Description) -> Description:
    """With the licence of its recordings, what made it, and how good it is where these very weights are evaluated."""
    name, seed = run_of(run)
    evaluation, metrics = paths.evaluation_results(params.preset, name, seed), None
    weights = paths.run(params.preset, name, seed) / WEIGHTS
    record = evaluation / "evaluation.json"
    if record.exists() and read_json(record).get("weights_sha256") == sha256_of(weights):
        metrics = read_json(evaluation / "metrics.json")
    more: dict[str, Any] = {
        "licences": _licences(paths.packed(params.preset) / "ATTRIBUTION.csv"),
        "metrics": metrics,
        "record": read_json(paths.training_results(params.preset, name, seed) / "run.json"),
    }
    return about.model_copy(update=more)


def _licences(attribution: Path) -> tuple[str, ...]:
    """Those of the recordings, sorted; `unknown` where some have none."""
    if not attribution.exists():
        return (UNKNOWN,)
    with open(attribution, newline="", encoding="utf-8") as file:
        return tuple(sorted({row["licence"] or UNKNOWN for row in csv.DictReader(file)}))
