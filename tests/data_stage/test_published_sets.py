"""The presets of published sets and of own clips: each on a small copy in the set's own layout, trained and scored."""

from __future__ import annotations

import contextlib
import csv
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from examples import make_clips
from harness.base.errors import UserError
from harness.config.params import Params, load
from harness.data.clips.clips import open_clips
from harness.data.featurize import featurize
from harness.data.fetching.fetch import fetch
from harness.evaluation.evaluate import evaluate
from harness.training.train import train
from tests.conftest import ROOT

from .test_audioset import MALE, MUSIC, SPEECH, write_segments

MODEL = "convnext_dcls_audio_tiny"


def write_sound(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(number)
    soundfile.write(path, random.uniform(-0.5, 0.5, 22_050) * np.linspace(1, random.uniform(), 22_050), 44_100)


def write_rows(path: Path, *rows: tuple[object, ...]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows(rows)


def esc50(folder: Path) -> None:
    rows = []
    for fold in range(1, 6):
        for target, category in ((0, "dog"), (14, "chirping_birds"), (36, "vacuum_cleaner")):
            rows.append((f"{fold}-{1000 + target}-A-{target}.wav", fold, target, category, target == 0, 1000, "A"))
            write_sound(folder / "data/ESC-50/audio" / rows[-1][0], len(rows))
    header = ("filename", "fold", "target", "category", "esc10", "src_file", "take")
    write_rows(folder / "data/ESC-50/meta/esc50.csv", header, *rows)


def fsd50k(folder: Path) -> None:
    root = folder / "data/FSD50K"
    bark, own = ("Bark,Animal", "/m/05tny_,/m/0jbk"), ("Domestic_sounds_and_home_sounds", "/t/dd00071")
    dev = [(100 + n, *(bark, own)[n % 2], "val" if n > 3 else "train") for n in range(6)]
    test = [(200 + n, *(bark, own)[n % 2]) for n in range(4)]
    write_rows(root / "FSD50K.ground_truth/dev.csv", ("fname", "labels", "mids", "split"), *dev)
    write_rows(root / "FSD50K.ground_truth/eval.csv", ("fname", "labels", "mids"), *test)
    names = ((0, "Animal", "/m/0jbk"), (1, "Bark", "/m/05tny_"), (2, "Domestic_sounds_and_home_sounds", "/t/dd00071"))
    write_rows(root / "FSD50K.ground_truth/vocabulary.csv", *names)
    for where, clips in (("dev", dev), ("eval", test)):
        for clip in clips:
            write_sound(root / f"FSD50K.{where}_audio/{clip[0]}.wav", clip[0])


def audioset_20k(folder: Path) -> None:
    (folder / "data/audioset").mkdir(parents=True)
    for name, first in (("balanced_train", 0), ("eval", 50)):
        clips = {f"{first + n:011d}": [(SPEECH, MALE, MUSIC)[n % 3]] for n in range(40 if not first else 6)}
        write_segments(folder / f"data/audioset/{name}_segments.csv", clips)
        for number, clip in enumerate(clips):
            write_sound(folder / f"data/audioset/audio/Y{clip}.wav", first + number)


def folder(folder: Path) -> None:
    (folder / "examples").symlink_to(ROOT / "examples")


SETS: dict[str, tuple[Callable[[Path], None], dict[str, int], int]] = {  # copy, clips by split, classes
    "esc50": (esc50, {"train": 9, "val": 3, "test": 3}, 3),
    "fsd50k": (fsd50k, {"train": 4, "val": 2, "test": 4}, 3),
    "audioset-20k": (audioset_20k, {"train": 38, "val": 2, "test": 6}, 527),
    "folder": (folder, {"train": 12, "val": 3, "test": 6}, 3),
}


def small(name: str) -> Params:
    """The preset with a tiny model, an epoch and short clips; AudioSet's from its CSVs, which its comments name."""
    text = (ROOT / "presets" / f"{name}.yaml").read_text()
    if name == "audioset-20k":
        text = re.sub(r"^    (train|test): .*", r"    \1: null", text, flags=re.MULTILINE)
        text = re.sub(r"(audio|train_segments|test_segments): null +# ([^;\n]+).*", r"\1: \2", text)
    Path("params.yaml").write_text(text)
    params = load(Path("params.yaml"))
    system = params.systems[MODEL]
    tiny = {"scale": "reduced", "depths": (1, 1, 1, 1), "widths": (16, 16, 32, 32), "start": "random", "drop_path": 0.0}
    system = system.model_copy(
        update={
            "model": system.model.model_copy(update=tiny),
            "schedule": system.schedule.model_copy(update={"epochs": 1}),
        }
    )
    changed = {
        "data": params.data.model_copy(update={"clip_seconds": 1.28}),
        "train": params.train.model_copy(update={"batch": 4}),
        "evaluate": params.evaluate.model_copy(update={"bootstrap": 5}),
        "execution": params.execution.model_copy(update={"workers": 0}),
        "systems": params.systems | {MODEL: system},
    }
    return params.model_copy(update=changed)


@pytest.mark.parametrize("name", SETS)
def test_a_preset_runs_on_a_small_copy_of_its_set(tmp_path: Path, name: str) -> None:
    make, clips, classes = SETS[name]
    make(tmp_path)
    with contextlib.chdir(tmp_path):
        params = small(name)
        fetch(params)
        featurize(params, 1)
        found = {split: open_clips(params, split) for split in clips}
        assert {split: len(each) for split, each in found.items()} == clips
        assert len(found["test"].labels) == classes
        assert all(found["test"].targets[index].any() for index in range(clips["test"]))
        if name == "esc50":
            assert found["test"].labels == ["dog", "chirping birds", "vacuum cleaner"]
            assert {clip[0] for clip in found["test"].ids} == {"1"} and {clip[0] for clip in found["val"].ids} == {"5"}
        train(params, MODEL, 0)
        evaluate(params, MODEL, 0)
        assert (tmp_path / f"results/{name}/runs/{MODEL}-0/evaluation/metrics.json").exists()


def test_the_examples_are_what_the_script_writes(tmp_path: Path) -> None:
    make_clips.main(tmp_path)
    committed = ROOT / "examples" / "clips"
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in committed.iterdir()}
    assert (tmp_path / "clips.csv").read_bytes() == (committed / "clips.csv").read_bytes()
    for path in tmp_path.glob("*.ogg"):
        expected, found = (soundfile.read(one)[0] for one in (committed / path.name, path))
        np.testing.assert_allclose(found, expected, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "broken", "message"),
    [
        (
            "esc50",
            "ESC-50/meta/esc50.csv",
            r"esc50\.csv cannot be read .*: git clone https://.* data/ESC-50$",
        ),
        ("fsd50k", "FSD50K/FSD50K.ground_truth/eval.csv", r"eval\.csv cannot be read .*unpack FSD50K\.ground_truth"),
        ("fsd50k", "FSD50K/FSD50K.eval_audio/201.wav", ""),  # one bad clip in a small set
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, name: str, broken: str, message: str) -> None:
    SETS[name][0](tmp_path)
    (tmp_path / "data" / broken).unlink()
    with contextlib.chdir(tmp_path):
        params = small(name)
        if message:
            with pytest.raises(UserError, match=message):
                fetch(params)
        else:
            fetch(params)
            featurize(params, 1)
            assert len(open_clips(params, "test")) == 3


def test_the_first_error_says_where_paths_start_and_featurize_what_is_lacking(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clips = [(f"{number}.wav", "x", "train") for number in range(3)]
    write_rows(tmp_path / "mine/clips.csv", ("path", "labels", "split"), *clips)
    with contextlib.chdir(tmp_path):
        (tmp_path / "examples").symlink_to(ROOT / "examples")
        params = small("folder")
        params = params.model_copy(update={"data": params.data.model_copy(update={"csv": "mine/clips.csv"})})
        fetch(params)
        with pytest.raises(UserError, match=r"3 of 3 train clips are bad \(missing 3; paths start at mine/\)"):
            featurize(params, 1)
        for number in range(3):
            write_sound(tmp_path / f"mine/{number}.wav", number)
        featurize(params, 1)
    said = capsys.readouterr().out
    assert "warning: no usable val clip, without which no model trains, as it keeps the epoch that does best" in said
    assert "warning: no usable train clip" not in said
