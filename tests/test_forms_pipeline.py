"""Preset `audioset`, shrunk, on the same clips in each form: the same mAP, of lossless forms to the bit."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.config.params import Params, load
from harness.data.featurize import featurize
from harness.data.fetching.fetch import fetch
from tests.conftest import ROOT, unshared
from tests.data_stage import forms
from tests.test_pipeline import TINY, commit, edit, new_clone, run

MODEL = "convnext_dcls_audio_tiny"
METRICS = Path(f"results/audioset/runs/{MODEL}-0/evaluation/metrics.json")
SPLITS = {"train": ("t", 24), "val": ("v", 6), "test": ("e", 12)}
LOSSLESS = ("waveforms", "parquet", "flac_hdf5", "tar", "folder", "lists")
MIDS = ("/m/09x0r", "/m/04rlf", "/m/0jbk")


def shrunk(params: dict[str, Any], named: dict[str, object]) -> None:
    params |= {"models": [MODEL], "seeds": [0]}
    params["data"] |= {"clip_seconds": 1.28} | as_data(named)
    params["train"] |= {"batch": 8, "micro_batch": 4, "convolution": "rule"}
    params["evaluate"] = {"batch": 4, "bootstrap": 20}
    params["throughput"] = {"inference_batches": [1], "training_batches": [1], "seconds": 0.0}
    params["execution"] = {"workers": 0}
    system = params["systems"][MODEL]
    system["model"] |= TINY | {"scale": "reduced", "start": "random", "drop_path": 0.0}
    system["schedule"] |= {"epochs": 2}
    system["compared_with"] = []
    params["systems"] = {MODEL: system}


def as_data(named: dict[str, object]) -> dict[str, Any]:
    """Lists, which are a kind of `folder`, end in .json."""
    plain = {key: list(value) if isinstance(value, tuple) else value for key, value in named.items()}
    if str(plain.get("test", [""])[0]).endswith(".json"):  # type: ignore[index]
        return {"kind": "folder", "csv": plain, "audioset": None}
    return {"kind": "audioset", "csv": None, "audioset": {"train": None, "test": None} | plain}


def write(form: str, folder: Path) -> dict[str, object]:
    clips = {split: forms.made(*what, MIDS) for split, what in SPLITS.items()}
    if form != "lists":
        return forms.write_form(form, folder, clips)
    forms.write_form("folder", folder, clips)
    for split, own in clips.items():  # as AST's trainer reads them
        files = (f"audio/{split}/{clip.id}_30.0-40.0.flac" for clip in own)
        entries = [{"wav": file, "labels": ",".join(clip.mids)} for file, clip in zip(files, own, strict=True)]
        (folder / f"{split}.json").write_text(json.dumps({"data": entries}))
    return {split: (f"{split}.json",) for split in clips}


def params_of(folder: Path, named: dict[str, object]) -> Params:
    params = unshared(yaml.safe_load((ROOT / "presets/audioset.yaml").read_text()))
    shrunk(params, named)
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    return load(folder / "params.yaml")


def test_the_same_clips_give_the_same_mAP_in_every_form(tmp_path: Path) -> None:
    from harness.evaluation.evaluate import evaluate
    from harness.training.train import train

    found = {}
    for form in (*LOSSLESS, "mp3"):
        folder = tmp_path / form
        folder.mkdir()
        params = params_of(folder, write(form, folder))
        with contextlib.chdir(folder):
            fetch(params)
            featurize(params, 1)
            train(params, MODEL, 0)
            evaluate(params, MODEL, 0)
            found[form] = json.loads(METRICS.read_text())
    assert all(found[form] == found["waveforms"] for form in LOSSLESS)
    assert 0.1 < found["waveforms"]["mAP"] < 1 and found["waveforms"]["clips"] == 12
    assert abs(found["mp3"]["mAP"] - found["waveforms"]["mAP"]) < 0.15


@pytest.mark.slow
def test_through_dvc_too(tmp_path: Path) -> None:
    clone = new_clone(tmp_path / "clone")
    run(clone, "python", "-m", "harness", "preset", "audioset")
    found = {}
    for form in (*LOSSLESS, "mp3"):
        (tmp_path / form).mkdir()
        named = write(form, tmp_path / form)
        named = {key: [str(tmp_path / form / name) for name in names] for key, names in named.items()}  # type: ignore[attr-defined]
        edit(clone, lambda params, named=named: shrunk(params, named))
        run(clone, "python", "-m", "harness", "hardware")
        commit(clone, form)
        run(clone, "dvc", "repro", f"evaluate@{MODEL}-0")
        found[form] = json.loads((clone / METRICS).read_text())
    assert all(found[form] == found["waveforms"] for form in LOSSLESS)
    assert abs(found["mp3"]["mAP"] - found["waveforms"]["mAP"]) < 0.15
