"""Kind `folder` from the lists of other trainers: the same clips as from a CSV, and one line where a list is broken."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import yaml

from harness.base.errors import UserError
from harness.config.params import Lists, Params, load
from harness.data.clips.clips import open_clips
from harness.data.clips.manifest import read_manifest

from . import forms
from .conftest import MakeParams
from .test_audioset import run

SPLITS = {"train": ("t", 7), "val": ("v", 2), "test": ("e", 3)}
PACKED = Path("data/packed/folder")
Paths = Sequence[str]


def write_ast(path: Path, files: Paths, clips: Sequence[forms.Made]) -> None:
    entries = [{"wav": file, "labels": ",".join(clip.mids)} for file, clip in zip(files, clips, strict=True)]
    path.with_suffix(".json").write_text(json.dumps({"data": entries}, indent=1))


def write_eat(path: Path, files: Paths, clips: Sequence[forms.Made]) -> None:
    root = str(path.parent.absolute())
    path.with_suffix(".tsv").write_text("\n".join([root, *(f"{file}\t320000" for file in files)]) + "\n")
    labels = (f"{clip.id} {','.join(clip.mids)}\n" for clip in clips)
    path.with_suffix(".lbl").write_text("".join(labels))


def write_ced(path: Path, files: Paths, clips: Sequence[forms.Made]) -> None:
    """Paths are relative to the folder above."""
    lines = ["filename\tlabels\thdf5path\n"]
    for file, clip in zip(files, clips, strict=True):
        columns = ";".join(str(forms.COLUMN[mid]) for mid in clip.mids)
        lines.append(f"lists/{file}\t{columns}\teval_0.h5\n")
    path.with_suffix(".tsv").write_text("".join(lines))


def write_kaldi(path: Path, files: Paths, clips: Sequence[forms.Made]) -> None:
    path.mkdir()
    both = list(zip(files, clips, strict=True))
    (path / "wav.scp").write_text("".join(f"{clip.id} {path.parent.absolute()}/{file}\n" for file, clip in both))
    (path / "text").write_text("".join(f"{clip.id} {' '.join(clip.mids)}\n" for _, clip in both))


WRITERS: dict[str, tuple[Callable[[Path, Paths, Sequence[forms.Made]], None], str]] = {
    "ast": (write_ast, "lists/{}.json"),
    "eat": (write_eat, "lists/{}.tsv"),
    "ced": (write_ced, "lists/{}.tsv"),
    "kaldi": (write_kaldi, "lists/{}/wav.scp"),
}


def of_lists(make: MakeParams, **lists: object) -> Params:
    given = Lists(**lists)  # type: ignore[arg-type]
    return make(preset="folder", kind="folder", csv=given, label_list="audioset", clip_seconds=1.28)


def write_all(folder: Path, kind: str) -> dict[str, list[forms.Made]]:
    write, _ = WRITERS[kind]
    made = {split: forms.made(*what) for split, what in SPLITS.items()}
    for split, clips in made.items():
        below = folder / "lists" / "audio" / split
        below.mkdir(parents=True)
        for clip in clips:
            (below / f"{clip.id}.flac").write_bytes(forms.encoded(clip))
        write(folder / "lists" / split, [f"audio/{split}/{clip.id}.flac" for clip in clips], clips)
    return made


@pytest.mark.parametrize("kind", WRITERS)
def test_a_list_gives_the_clips_that_it_names(tmp_path: Path, make: MakeParams, kind: str) -> None:
    made = write_all(tmp_path, kind)
    params = of_lists(make, **{split: WRITERS[kind][1].format(split) for split in SPLITS})
    run(tmp_path, params)
    for split, own in made.items():
        with contextlib.chdir(tmp_path):
            clips = open_clips(params, split)
        assert [Path(name).stem for name in clips.ids] == [clip.id for clip in own]
        np.testing.assert_array_equal(np.asarray(clips.targets), forms.targets(own))
        for index, clip in enumerate(own):
            np.testing.assert_array_equal(clips.waveform(index), clip.sound[:40_960] / np.float32(32768))


def test_a_share_validates_files_are_missing_or_listed_twice_and_labels_are_wrong(
    tmp_path: Path, make: MakeParams
) -> None:
    write_all(tmp_path, "ast")
    listed = json.loads((tmp_path / "lists/train.json").read_text())["data"]
    more = [listed[0], {"wav": "audio/gone.wav", "labels": "/m/09x0r"}, {"wav": listed[1]["wav"] + "x", "labels": ""}]
    (tmp_path / "lists/train.json").write_text(json.dumps([*listed, *more]))
    (tmp_path / "lists/test.json").write_text(json.dumps([{"wav": "audio/test/e0000000000.flac", "labels": "/m/x"}]))
    run(tmp_path, of_lists(make, train="lists/train.json", test="lists/test.json", val_fraction=0.3))
    rows = read_manifest(tmp_path / PACKED / "manifest.csv")
    assert [row.status for row in rows] == ["bad_label", *["ok"] * 7, "duplicate", "missing", "bad_label"]
    assert {row.split for row in rows[1:8]} == {"train", "val"}


BROKEN = {
    "text": ("a.txt", "a\tb\n", "a.txt: is no list that is known; give AST's JSON"),
    "half": ("a.json", '{"data": [{"wav": "a.wav", "labels": "/m/x"}, {"wav"', "a.json: entry 2 is no JSON"),
    "no wav": ("a.json", '{"data": [{"path": "a"}]}', 'a.json: entry 1 must have "wav" and "labels"'),
    "empty": ("a.json", '{"data": []}', "a.json: no file in it"),
    "column": ("a.tsv", "filename\tlabels\na.wav\t0;527\n", "a.tsv:2: is 'a.wav\\t0;527', must be"),
    "negative": ("a.tsv", "filename\tlabels\na.wav\t-1\n", "a.tsv:2: is 'a.wav\\t-1', must be"),
    "no labels": ("a.tsv", "filename\na.wav\n", "a.tsv: no column labels"),
    "no lbl": ("a.tsv", "/data\na.wav\t3\n", "a.tsv: no a.lbl beside it"),
    "command": (
        "wav.scp",
        "a sox a.mp3 -t wav - |\n",
        "wav.scp:1: is 'a sox a.mp3 -t wav - |', must be an id and a path",
    ),
    "order": ("wav.scp", "b b.wav\n", "text:1: is 'a', must be the labels of b, in the order of wav.scp"),
    "fewer": ("wav.scp", "a a.wav\nb b.wav\n", "text:2: is '', must be the labels of b"),
    "bytes": ("a.tsv", "filename\tlabels\n\udcff", "a.tsv: cannot be read"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_list_is_named_with_its_line(tmp_path: Path, make: MakeParams, what: str) -> None:
    name, content, message = BROKEN[what]
    (tmp_path / name).write_text(content, errors="surrogateescape")
    (tmp_path / "text").write_text("a /m/09x0r\n")
    with pytest.raises(UserError) as raised:
        run(tmp_path, of_lists(make, test=name))
    assert message in str(raised.value) and not (tmp_path / PACKED).exists()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"test": "a.json", "tests": "b.json"}, "data.csv.tests: unknown key; did you mean 'test'?"),
        ({"train": "a.json"}, "data.csv.test: missing; add it (lists to test on)"),
        (
            {"train": "a", "test": "b", "val_fraction": 0.0},
            "data.csv.val_fraction: is 0.0, must be above 0 without val",
        ),
        ({"test": 3}, "data.csv.test: is 3, must be a list"),
        (3, "data.csv: is 3, must be a text"),
    ],
)
def test_impossible_lists_are_named(tmp_path: Path, make: MakeParams, value: object, message: str) -> None:
    plain = of_lists(make, test="a.json").model_dump(mode="json")
    plain["data"]["csv"] = value
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(plain))
    with pytest.raises(UserError) as raised:
        load(tmp_path / "params.yaml")
    assert message in str(raised.value)
