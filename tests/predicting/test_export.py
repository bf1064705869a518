"""`python -m harness export`: a folder from which a model is used without its run, its data, or PyTorch."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import soundfile
import torch
from timm.models._hub import load_model_config_from_path

from harness.__main__ import main
from harness.audio.front_end import FrontEnd
from harness.base.files import read_json
from harness.config.params import Params, load
from harness.exporting.export import export
from harness.exporting.onnx_model import Tagging, largest_difference
from harness.predicting.weights import open_file, open_run, tagger
from tests.predicting.conftest import NAMES


@pytest.fixture
def here(trained: tuple[Path, Params], monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(trained[0])
    return trained[0]


@pytest.mark.parametrize("name", [NAMES[0], pytest.param(NAMES[1], marks=pytest.mark.slow), NAMES[2]])
def test_each_file_says_what_the_run_says(
    here: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "exported"
    export(load(Path("params.yaml")), f"{name}-0", folder)
    assert sorted(one.name for one in folder.iterdir()) == [
        "README.md",
        "config.json",
        "model.onnx",
        "model.safetensors",
    ]
    trained = tagger(*open_run(load(Path("params.yaml")), f"{name}-0"))
    monkeypatch.chdir(folder)  # nothing of the run is here
    exported = tagger(*open_file(Path("model.safetensors")))
    about = exported.about
    assert (
        about.labels == ("low", "middle", "high") and about.licences == ("unknown",) and about.metrics and about.record
    )
    session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
    sounds = [soundfile.read(here / "sounds" / f"{index}.wav", dtype="float32")[0] for index in range(3)]
    for clips, samples in ((1, 41_600), (3, 44_800), (2, 40_640)):
        waveforms = np.stack([sound[:samples] for sound in sounds[:clips]])
        wanted, embedding = trained(torch.from_numpy(waveforms))
        assert torch.equal(exported(torch.from_numpy(waveforms))[0], wanted)
        scores, vectors = session.run(["scores", "embedding"], {"waveform": waveforms})
        assert np.abs(scores - wanted.numpy()).max() < 1e-5
        assert np.abs(vectors - embedding.numpy()).max() < 1e-4
    for place in (
        read_json(Path("config.json"))["dcls_audio"],
        session.get_modelmeta().custom_metadata_map["dcls_audio"],
    ):
        assert (json.loads(place) if isinstance(place, str) else place) == about.model_dump(mode="json")
    config, architecture, arguments = load_model_config_from_path(".")
    assert config["label_names"] == ["low", "middle", "high"] and config["license"] == "other"
    assert architecture.startswith(name.partition("_")[0]) and arguments["in_chans"] == 1
    card = Path("README.md").read_text()
    (snippet,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    capsys.readouterr()
    exec(snippet, {})
    assert capsys.readouterr().out.count("low") == 1
    assert f"mAP {about.metrics['mAP']:.3f}" in card and about.record["code_fingerprint"] in card

    for parameter in exported.model.head.parameters():
        torch.nn.init.normal_(parameter)
    with pytest.raises(RuntimeError, match=r"model.onnx: scores differ by .* above 0.001"):
        largest_difference(Path("model.onnx"), exported, waveforms)


@pytest.mark.parametrize("samples", [41_600, 100_001])
def test_its_front_end_is_ours_on_recordings(samples: int) -> None:
    """Of loud and quiet sounds, down to silence, where the floor is."""
    random, time = np.random.default_rng(0), np.arange(samples) / 32_000
    sound = np.sin(2 * np.pi * 440 * time) * np.exp(-8 * time) + 1e-3 * random.standard_normal(samples)
    sound[samples // 2 :] = 0
    waveforms = torch.from_numpy(np.stack([sound, 1e-4 * sound, 0 * sound]).astype(np.float32))
    assert (Tagging(torch.nn.Identity()).log_mel(waveforms) - FrontEnd()(waveforms)).abs().max() < 1e-3


def test_nothing_is_overwritten(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").write_text("mine")
    monkeypatch.setattr(sys, "argv", ["harness", "export", "--run", f"{NAMES[0]}-0", "--to", str(tmp_path)])
    assert main() == 2
    assert capsys.readouterr().err == f"error: --to: {tmp_path} is there already; name a new folder, or delete it\n"
