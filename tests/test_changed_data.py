"""Through DVC, in a clone: whatever file of the user's changes, `dvc status` sees it, and just the right stages run."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import pytest
import soundfile
from dvc.repo import Repo

from harness.config.params import Params
from harness.data import links
from harness.data.links import link
from tests.data_stage import test_hdf5
from tests.data_stage.corpus import sine
from tests.data_stage.test_audioset import write_segments
from tests.test_pipeline import edit, new_clone, run, stages_run

LINK, ALL = {"link", "featurize"}, {"link", "fetch", "featurize"}
MODEL = "convnext_audio_tiny"


def write_table(folder: Path, first: str = "Speech", count: int = 6) -> None:
    labels = [first, *["Music"] * (count - 1)]
    rows = [f"{number}.wav,{label},{('train', 'val', 'test')[number % 3]}" for number, label in enumerate(labels)]
    (folder / "clips.csv").write_text("path,labels,split\n" + "\n".join(rows) + "\n")


def write_sound(path: Path, hertz: float) -> None:
    soundfile.write(path, sine(seconds=1.3, frequency=hertz), 32_000)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return new_clone(tmp_path_factory.mktemp("changed") / "clone")


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """The user's files, outside of the clone."""
    for number in range(7):
        write_sound(tmp_path / f"{number}.wav", 300.0 + 100 * number)
    write_table(tmp_path)
    (tmp_path / "classes.csv").write_text("display_name\nSpeech\nMusic\n")
    return tmp_path


def prepare(clone: Path, preset: str, **data: Any) -> None:
    shutil.copy(clone / "presets" / f"{preset}.yaml", clone / "params.yaml")
    edit(clone, lambda params: params["data"].update({"clip_seconds": 1.28, "max_bad_fraction": 1.0} | data))
    run(clone, "dvc", "repro", "featurize")


def due(clone: Path, stages: set[str] = ALL) -> set[str]:
    """Those of `stages` that `dvc status` names; by default those up to the packed clips."""
    with contextlib.chdir(clone):
        return stages & set(Repo().status())


def test_a_folder_of_clips(clone: Path, mine: Path) -> None:
    prepare(clone, "folder", csv=str(mine / "clips.csv"), label_list=str(mine / "classes.csv"))
    assert due(clone) == set()
    changes: list[tuple[Callable[[], object], set[str]]] = [
        (lambda: write_sound(mine / "3.wav", 900.0), LINK),
        (lambda: write_table(mine, "Music"), ALL),
        (lambda: (mine / "classes.csv").write_text("display_name\nMusic\nSpeech\n"), ALL),
        (lambda: write_table(mine, count=7), ALL),
    ]
    for change, expected in changes:
        change()
        assert due(clone) == expected
    assert stages_run(run(clone, "dvc", "repro", "featurize")) == ALL
    os.utime(mine / "3.wav")  # read again, and found to be the same
    assert due(clone) == set()


@pytest.mark.parametrize("form", ["hdf5", "folders"])
def test_audioset(clone: Path, mine: Path, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [f"e{number:010d}" for number in range(9)]
    write_segments(mine / "eval.csv", {name: ["/m/09x0r"] for name in ids})
    monkeypatch.setattr(test_hdf5, "SAMPLES", 41_000)
    test_hdf5.write_hdf5(mine / "eval.h5", [f"Y{name}.wav" for name in ids])
    (mine / "audio").mkdir()
    for number, name in enumerate(ids[:8]):
        write_sound(mine / "audio" / f"{name}.wav", 300.0 + 100 * number)
    given = {"test_segments": str(mine / "eval.csv")}
    given |= {"test": str(mine / "eval.h5")} if form == "hdf5" else {"audio": [str(mine / "audio")]}
    prepare(clone, "audioset", audioset=given)
    assert due(clone) == set()
    if form == "hdf5":
        size = (mine / "eval.h5").stat().st_size
        with h5py.File(mine / "eval.h5", "r+") as file:
            file["waveform"][3, 5] ^= 1
        assert (mine / "eval.h5").stat().st_size == size
    else:
        write_sound(mine / "audio" / f"{ids[2]}.wav", 2000.0)
    assert due(clone) == LINK
    write_segments(mine / "eval.csv", {name: ["/m/04rlf"] for name in ids})
    assert due(clone) == ALL


def test_a_file_of_start_weights(clone: Path, mine: Path) -> None:
    weights, other = mine / "start.safetensors", "fastvit_audio_sa24"
    weights.write_bytes(b"one")

    def start(params: dict[str, Any]) -> None:
        model = params["systems"][MODEL]["model"]
        model |= {"scale": "full", "depths": None, "widths": None, "start": "imagenet", "weights": str(weights)}

    shutil.copy(clone / "presets/instruments.yaml", clone / "params.yaml")
    edit(clone, start)
    run(clone, "dvc", "repro", "--single-item", "link")
    for model in (MODEL, other):  # as if they were trained: what counts is what DVC sees
        for place in (f"runs/instruments/{model}-0", f"results/instruments/runs/{model}-0/training"):
            (clone / place).mkdir(parents=True, exist_ok=True)
            (clone / place / "made").write_text(model)
    (clone / "data/packed/instruments").mkdir(parents=True)
    (clone / "data/packed/instruments/manifest.csv").write_text("id\n")
    names = [f"train@{model}-0" for model in (MODEL, other)]
    run(clone, "dvc", "commit", "--force", *names)
    assert due(clone, {"link", *names}) == set()
    weights.write_bytes(b"two")
    assert due(clone, {"link", *names}) == {"link", names[0]}


def test_very_many_sounds_are_noted_by_size_time_and_inode(
    mine: Path, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(mine)
    with open("clips.csv", "a") as table:
        table.write(f"{'x' * 5000}.wav,Music,train\n")  # longer than a name can be
    params = params.model_copy(update={"data": params.data.model_copy(update={"kind": "folder", "csv": "clips.csv"})})
    link(params)
    assert Path("data/linked/folder/sounds/count.txt").read_text() == "6 linked\n"
    monkeypatch.setattr(links, "MOST_FILES", 3)
    seen = set()
    for change in (lambda: None, lambda: os.utime("3.wav"), lambda: os.replace("6.wav", "4.wav"), Path("5.wav").unlink):
        change()
        link(params)
        seen.add(Path("data/linked/folder/sounds/noted.txt").read_text())
    assert len(seen) == 4 and not [path for path in Path("data/linked/folder/sounds").iterdir() if path.is_symlink()]
    assert [path.resolve() for path in Path("data/linked/folder/tables").iterdir() if path.is_symlink()] == [
        mine / "clips.csv"
    ]
