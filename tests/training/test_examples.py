"""The examples stage on clips that were packed, trained on and scored; and on mixtures with made-up credits."""

from __future__ import annotations

import base64
import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

from harness.audio.units import band_centres
from harness.base.errors import UserError
from harness.base.files import write_csv
from harness.comparison import examples as stage
from harness.comparison.examples import audio_of, chosen, examples, log_mel_of
from harness.config.params import load
from harness.data.clips.clips import MixtureClips, PackedClips
from harness.data.clips.manifest import Row
from tests.training.conftest import Folder, folder_with
from tests.training.processes import Nursery

MODELS = ("convnext_audio_tiny", "convnext_dcls_audio_tiny")
EXAMPLES = Path("results/folder/examples")


@pytest.fixture(scope="module")
def scored(nursery: Nursery, featurized: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two models trained and scored."""
    folder = folder_with(featurized, tmp_path_factory.mktemp("scored") / "it", models=list(MODELS))
    for model in MODELS:
        nursery.run(folder, "train", "--model", model, "--seed", "0")
        nursery.run(folder, "evaluate", "--model", model, "--seed", "0")
    return folder


def test_what_is_written_is_in_the_predictions(nursery: Nursery, scored: Path) -> None:
    nursery.run(scored, "examples")
    content = json.loads((scored / EXAMPLES / "examples.json").read_text())
    for model in MODELS:
        with np.load(scored / f"predictions/folder/{model}-0.npz") as file:
            ids, labels = file["ids"].tolist(), file["labels"].tolist()
            for clip in content["clips"]:
                row = ids.index(clip["id"])
                assert clip["labels"] == [labels[n] for n in np.flatnonzero(file["targets"][row])]
                found = {one["label"]: one["score"] for one in clip["predictions"][model]}
                assert list(found) == [labels[n] for n in np.argsort(-file["scores"][row], kind="stable")]
                assert list(found.values()) == pytest.approx(sorted(file["scores"][row], reverse=True), abs=6e-5)
    assert {clip["audio"] for clip in content["clips"]} == {clip["licence"] for clip in content["clips"]} == {None}
    assert {path.name for path in (scored / EXAMPLES).iterdir()} == {"examples.json", "run.json"}
    assert (scored / EXAMPLES / "examples.json").stat().st_size < 40_000
    before = (scored / EXAMPLES / "examples.json").read_bytes()
    nursery.run(scored, "examples")
    assert (scored / EXAMPLES / "examples.json").read_bytes() == before
    bins = list(
        csv.DictReader(
            (scored / f"results/folder/runs/{MODELS[0]}-0/evaluation/calibration.csv").read_text().splitlines()
        )
    )
    assert sum(int(one["count"]) for one in bins) == 12 * 3


def test_predictions_of_other_clips_are_refused(nursery: Nursery, scored: Path) -> None:
    path = scored / f"predictions/folder/{MODELS[1]}-0.npz"
    content = path.read_bytes()
    with np.load(path) as file:
        arrays = dict(file)
    try:
        np.savez(path, **(arrays | {"ids": arrays["ids"][::-1]}))
        said = nursery.run(scored, "examples", status=2)
        assert said.startswith(f"error: predictions/folder/{MODELS[1]}-0.npz: is of other clips than those packed")
        path.unlink()
        assert f"{MODELS[1]}-0.npz: missing" in nursery.run(scored, "examples", status=2)
    finally:
        path.write_bytes(content)


def test_clips_are_chosen_by_their_labels() -> None:
    targets = np.zeros((9, 6))
    for row, labels in enumerate([(), (0,), (0,), (1, 2), (2, 3), (1,), (4, 5), (0, 3), (3,)]):
        targets[row, list(labels)] = 1
    assert chosen(targets) == [1, 3, 6, 8]  # the first two of new labels with several, then those with one


def test_log_mel_has_the_tone_where_it_is() -> None:
    """A tone of 1 kHz in the second half: the loudest band is the one around it, and its dB are kept."""
    time = np.arange(round(1.28 * 32000)) / 32000
    waveform = (0.5 * np.sin(2 * np.pi * 1000 * time) * (time > 0.64)).astype(np.float32)
    written = log_mel_of(waveform)
    assert (written["bands"], written["frames"], written["seconds"]) == (64, 64, 1.28)
    steps = np.frombuffer(base64.b64decode(written["values"]), np.uint8).reshape(64, 64)
    loudest = int(steps[:, 48].argmax())
    assert abs(band_centres()[2 * loudest] - 1000) < 60
    assert written["low_db"] == -100 and steps[:, :28].max() < 10 and steps[loudest, 48] > 240
    assert 30 < written["high_db"] < 50  # 0.5^2 / 4 of the window's sum 512 squared is 42 dB, less the mean of bands


@pytest.mark.parametrize(("seconds", "frames"), [(1.27, 64), (10.0, 91), (60.0, 98)])
def test_sound_and_picture_stay_small(seconds: float, frames: int) -> None:
    noise = np.random.default_rng(0).uniform(-1, 1, round(seconds * 32000)).astype(np.float32)
    assert len(audio_of(noise)) < 60_000
    written = log_mel_of(noise)
    assert written["frames"] == frames and len(json.dumps(written)) < 10_000


@pytest.mark.parametrize(("licences", "free"), [(("MIT", "CC0-1.0"), True), (("MIT", "CC-BY-NC"), False)])
def test_only_free_recordings_are_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, new_folder: Folder, licences: Sequence[str], free: bool
) -> None:
    """Two classes of one recording each; in a clip that holds both, both licences count."""
    monkeypatch.chdir(new_folder("mixtures"))
    params = load(Path("params.yaml")).model_copy(update={"models": MODELS[:1]})
    sounds = (np.random.default_rng(0).standard_normal((2, 20_000)) * 3000).astype(np.int16)
    rows = [
        Row(f"recording {n}", "test", f"/m/{n}", "font", shard=0, offset=20_000 * n, samples=20_000) for n in (0, 1)
    ]
    packed = PackedClips(["one", "other"], ["/m/0", "/m/1"], rows, {0: sounds.ravel()}, 40_000)
    clips = MixtureClips(packed, "test", 0, 0, 20)
    columns = ("id", "author", "licence", "url")
    credits = [(row.id, "someone", licence, "https://example.org") for row, licence in zip(rows, licences, strict=True)]
    write_csv(Path("data/packed/folder/ATTRIBUTION.csv"), columns, credits)
    Path("predictions/folder").mkdir(parents=True)
    scores = np.linspace(0, 1, 40, dtype=np.float32).reshape(20, 2)
    np.savez(
        f"predictions/folder/{MODELS[0]}-0.npz",
        ids=clips.ids,
        targets=clips.targets,
        scores=scores,
        labels=clips.labels,
    )
    monkeypatch.setattr(stage, "open_clips", lambda *_, **__: clips)
    examples(params)
    entries = json.loads((EXAMPLES / "examples.json").read_text())["clips"]
    both = next(one for one in entries if len(one["labels"]) == 2)
    assert [one["id"] for one in both["recordings"]] == clips.recordings(clips.ids.index(both["id"]))
    assert both["licence"] == ("CC0-1.0, MIT" if free else None) and (both["audio"] is not None) == free
    if free:
        heard, rate = soundfile.read(EXAMPLES / both["audio"])
        assert rate == 16000 and len(heard) == 20_000 and np.abs(heard).max() > 0.05
    Path("data/packed/folder/ATTRIBUTION.csv").write_text("id,author,licence,url\n")
    with pytest.raises(UserError, match=r"ATTRIBUTION.csv: does not say whose recording"):
        examples(params)
