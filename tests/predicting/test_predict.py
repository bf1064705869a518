"""`python -m harness predict` on real files: the scores that `evaluate` gives, in every form."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from harness.__main__ import main
from harness.base import paths
from harness.config.params import Params, load
from harness.data.clips.manifest import read_manifest
from harness.predicting.weights import open_run
from harness.records.description import KEY
from harness.running.checkpoint import save_weights
from tests.conftest import ROOT
from tests.predicting.conftest import NAMES

CLASSES = ["low", "middle", "high"]


@pytest.fixture
def here(trained: tuple[Path, Params], monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(trained[0])
    return trained[0]


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["harness", *map(str, arguments)])
    return main()


@pytest.mark.parametrize("name", NAMES)
def test_a_clip_gets_the_scores_of_evaluate(
    here: Path, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with np.load(paths.predictions("folder", name, 0)) as predicted:
        wanted = dict(zip(predicted["ids"].tolist(), predicted["scores"], strict=True))
    sources = {row.id: row.source for row in read_manifest(paths.packed("folder") / "manifest.csv")}
    files = [here / sources[one] for one in wanted]
    given = (
        ("--run", f"{name}-0")
        if name == NAMES[0]
        else ("--weights", paths.run("folder", name, 0) / "model.safetensors")
    )
    assert run(monkeypatch, "predict", *files, *given, "--format", "json", "--embeddings", here / "out.npz") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["file"] for line in lines] == list(map(str, files))
    for line, scores in zip(lines, wanted.values(), strict=True):
        assert line["start_seconds"] == [0.0, 0.1], "recordings of 1.4 s, a model of 1.3 s"
        assert [line["scores"][label][0] for label in CLASSES] == pytest.approx(scores.tolist(), abs=2e-6)
    with np.load(here / "out.npz") as found:
        assert found["files"].tolist() == [str(file) for file in files for _ in range(2)]
        assert found["start_seconds"].tolist() == [0.0, 0.1] * len(files)
        model, _ = open_run(load(Path("params.yaml")), f"{name}-0")
        head = model.head.fc if hasattr(model.head, "fc") else model.head
        with torch.inference_mode():
            again = head(torch.from_numpy(found["embeddings"])).sigmoid()[::2].numpy()
    assert np.abs(again - np.stack(list(wanted.values()))).max() < 2e-6


def test_every_form_says_the_same(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "more" / "deep").mkdir(parents=True)
    (here / "more" / "bad.wav").write_text("no sound")
    sound, rate = soundfile.read(here / "sounds" / "3.wav")
    soundfile.write(here / "more" / "deep" / "long, indeed.flac", np.tile(sound, 3), rate)
    given = ("predict", "more", "sounds/3.wav", "--hop", "0.5", "--top", "2", "--pictures", here / "pictures")
    printed = {}
    for form in ("text", "csv", "json"):
        assert run(monkeypatch, *given, "--format", form) == 1, "one recording is bad"
        printed[form], said = capsys.readouterr()
        assert "more/bad.wav: unreadable: Format not recognised.; left out" in said
        assert "preset folder, 3 classes" in said
    long, short = map(json.loads, printed["json"].splitlines())
    assert long["file"] == "more/deep/long, indeed.flac" and short["file"] == "sounds/3.wav"
    assert long["start_seconds"] == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 2.9] and long["window_seconds"] == 1.3
    rows = list(csv.DictReader(io.StringIO(printed["csv"])))
    assert len(rows) == 2 * (7 + len(short["start_seconds"]))
    for row, (at, label) in zip(rows, [(at, label) for at in range(7) for label in long["scores"]], strict=False):
        assert (float(row["start_seconds"]), row["label"]) == (long["start_seconds"][at], label)
        assert float(row["score"]) == pytest.approx(long["scores"][label][at], abs=2e-6)
    first = printed["text"].splitlines()[1]
    label, highest = next(iter(long["highest"].items()))
    at = long["start_seconds"][int(np.argmax(long["scores"][label]))]
    assert first == f"  {highest:.3f}  {label}  at {at:.2f} s"
    with Image.open(here / "pictures" / "long, indeed.flac.png") as image:
        assert image.format == "PNG" and image.width > 1000
    assert (here / "pictures" / "3.wav.png").is_file()


def test_what_cannot_be_is_said(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = paths.run("folder", NAMES[0], 0) / "model.safetensors"
    tensors = load_file(weights)
    save_file(tensors, tmp_path / "bare.safetensors")
    about = open_run(load(Path("params.yaml")), f"{NAMES[0]}-0")[1]
    other = about.model_copy(update={"front_end": about.front_end.model_copy(update={"mean": 1.5})})
    save_file(tensors, tmp_path / "other.safetensors", other.metadata())
    (tmp_path / "cut.safetensors").write_bytes(weights.read_bytes()[:1000])
    for arguments, words in (
        (("--run", "none-0"), "--run: none-0 is none of runs/folder, which has convformer"),
        (("--weights", tmp_path / "none.safetensors"), "none.safetensors: missing"),
        (("--weights", tmp_path / "bare.safetensors"), "bare.safetensors: does not say of which model"),
        (("--weights", tmp_path / "cut.safetensors"), "cut.safetensors: cannot be read as safetensors"),
        (("--weights", tmp_path / "other.safetensors"), "was made with mean 1.5, this code has -18.2696"),
        (("--hop", "2"), "--hop: is 2, must be from 0.01 to 1.3"),
        (("--top", "0"), "--top: 0 classes are none"),
    ):
        assert run(monkeypatch, "predict", "sounds/3.wav", *arguments) == 2
        said = capsys.readouterr().err
        assert words in said and said.count("\n") == 1, said


def test_who_reads_what_is_printed_may_stop(here: Path) -> None:
    command = [sys.executable, "-m", "harness", "predict", "sounds/3.wav"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    started = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    assert started.stdout is not None and started.stderr is not None
    started.stdout.close()
    assert "Broken" not in started.stderr.read() and started.wait() == 128 + 13


def test_a_run_of_before_weights_described_themselves_is_described_by_its_record(here: Path, tmp_path: Path) -> None:
    params = load(Path("params.yaml"))
    weights = paths.run("folder", NAMES[0], 0) / "model.safetensors"
    written, model = weights.read_bytes(), open_run(params, f"{NAMES[0]}-0")
    assert KEY.encode() in written[:100_000]
    try:
        weights.unlink()
        save_weights(weights, model[0])
        assert open_run(params, f"{NAMES[0]}-0")[1] == model[1]
    finally:
        weights.write_bytes(written)
