"""AudioSet in each of the forms in which it is passed on: the same clips are the same data; bad files are named."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import h5py
import numpy as np
import pytest
import soundfile

from harness.base.errors import UserError
from harness.data.clips.clips import Clips, open_clips
from harness.data.clips.manifest import read_manifest
from harness.data.packing import blocks

from . import forms
from .conftest import MakeParams
from .corpus import HTML, sine
from .test_audioset import PACKED, of_files, run

LOSSLESS = ("waveforms", "parquet", "flac_hdf5", "tar", "folder")
SPLITS = {"train": ("t", 11), "val": ("v", 4), "test": ("e", 5)}


def clips_of_splits() -> dict[str, list[forms.Made]]:
    return {split: forms.made(first, count) for split, (first, count) in SPLITS.items()}


def featurized(folder: Path, make: MakeParams, named: dict[str, object]) -> dict[str, Clips]:
    folder.mkdir(exist_ok=True)
    params = of_files(make, 1.28, named)
    run(folder, params)
    with contextlib.chdir(folder):
        return {split: open_clips(params, split) for split in SPLITS}


@pytest.mark.parametrize("form", [*LOSSLESS, "mp3"])
def test_the_same_clips_are_the_same_data_in_every_form(
    tmp_path: Path, make: MakeParams, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "ROWS", 4)
    made = clips_of_splits()
    found = featurized(tmp_path, make, forms.write_form(form, tmp_path, made))
    for split, clips in found.items():
        assert list(clips.ids) == [clip.id for clip in made[split]]
        np.testing.assert_array_equal(np.asarray(clips.targets), forms.targets(made[split]))
        for index, clip in enumerate(made[split]):
            expected = clip.sound[:40_960] / np.float32(32768)
            if form == "mp3":
                assert np.corrcoef(clips.waveform(index), expected)[0, 1] > 0.9
            else:
                np.testing.assert_array_equal(clips.waveform(index), expected)
    data = json.loads((tmp_path / "results/audioset/data.json").read_text())
    assert data["statuses"] == {"ok": 20}


def content(samples: np.ndarray, rate: int, kind: str, subtype: str | None = None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, subtype, format=kind)
    return file.getvalue()


FLAC = content(sine(48_000, 0.5), 48_000, "FLAC", "PCM_24")
OGG = content(sine(seconds=3.0), 32_000, "OGG")
WAV = content(sine(), 32_000, "WAV")
SPEECH = ("/m/09x0r",)
ROWS = [  # id, labels, content, status and a part of the reason
    ("48 kHz, 24 bit", SPEECH, FLAC, "ok", ""),
    ("44.1 kHz", SPEECH, content(sine(44_100, 0.5), 44_100, "FLAC", "PCM_24"), "ok", ""),
    ("16 kHz", SPEECH, content(sine(16_000, 0.5), 16_000, "WAV"), "ok", ""),
    ("opus", SPEECH, content(sine(48_000, 0.5), 48_000, "OGG", "OPUS"), "ok", ""),
    ("cut flac", SPEECH, FLAC[: len(FLAC) // 2], "unreadable", ""),
    ("cut ogg", SPEECH, OGG[: len(OGG) * 9 // 10], "unreadable", "last page"),
    ("cut wav", SPEECH, WAV[: len(WAV) * 6 // 10], "unreadable", "cut short"),
    ("web page", SPEECH, HTML, "unreadable", "Format not recognised"),
    ("NaN", SPEECH, content(np.where(sine() > 0.49, np.nan, 0.1), 32_000, "WAV", "FLOAT"), "not_finite", "NaN"),
    ("silence", SPEECH, content(np.zeros(16_000), 32_000, "WAV"), "silent", ""),
    ("no samples", SPEECH, content(np.zeros(0), 32_000, "WAV"), "empty", ""),
    ("3 ms", SPEECH, content(sine(seconds=0.003), 32_000, "WAV"), "short", ""),
    ("no label", (), WAV, "bad_label", "no label"),
    ("no sound", SPEECH, b"", "missing", "no sound"),
    ("48 kHz, 24 bit", SPEECH, FLAC, "duplicate", "came before"),
    ("two\nlines", SPEECH, WAV, "ok", ""),
]


def write_mp3_rows(path: Path, rows: Sequence[tuple[str, tuple[str, ...], bytes]]) -> None:
    contents = iter([row[2] for row in rows])
    forms.write_mp3(path, [forms.Made(name, labels, np.zeros(0)) for name, labels, _ in rows], lambda _: next(contents))


def write_parquet_rows(path: Path, rows: Sequence[tuple[str, tuple[str, ...], bytes]]) -> None:
    forms.write_rows(
        path,
        [{"video_id": name, "audio": {"bytes": it, "path": None}, "labels": list(labels)} for name, labels, it in rows],
    )


def write_tar_rows(path: Path, rows: Sequence[tuple[str, tuple[str, ...], bytes]]) -> None:
    members = {}
    for number, (_, labels, it) in enumerate(rows):
        members |= {f"{number}.json": json.dumps(labels).encode(), f"{number}.flac": it}
    forms.write_tar(path, members)


@pytest.mark.parametrize("form", ["mp3", "flac_hdf5", "tar", "folder"])
def test_read_in_place_it_is_the_same_data_and_takes_no_disk(
    tmp_path: Path, make: MakeParams, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "ROWS", 4)
    made = clips_of_splits()
    named = forms.write_form(form, tmp_path, made)
    packed = {
        split: (list(clips.ids), [clips.waveform(index) for index in range(len(clips))])
        for split, clips in featurized(tmp_path, make, named).items()
    }
    for split, clips in featurized(tmp_path, make, named | {"in_place": True}).items():
        clips = pickle.loads(pickle.dumps(clips))  # as for a process that reads
        assert list(clips.ids) == packed[split][0]
        for index in (*range(len(clips)), 0):
            np.testing.assert_array_equal(clips.waveform(index), packed[split][1][index])
    assert not list((tmp_path / PACKED).glob("shard-*"))
    assert set(json.loads((tmp_path / PACKED / "summary.json").read_text())["in_place"]) == set(SPLITS)
    for path in [each for each in tmp_path.rglob("*.*") if each.suffix in (".hdf", ".tar", ".flac")]:
        os.truncate(path, 100)
    with pytest.raises(UserError, match="run `python -m harness featurize` again"):
        pickle.loads(pickle.dumps(clips)).waveform(1)


def test_parquet_is_not_read_in_place(tmp_path: Path, make: MakeParams) -> None:
    named = forms.write_form("parquet", tmp_path, clips_of_splits())
    with pytest.raises(UserError, match=r"data\.audioset\.in_place: is true, but .*parquet, of which a row"):
        featurized(tmp_path, make, named | {"in_place": True})


@pytest.mark.parametrize("write", [write_parquet_rows, write_mp3_rows, write_tar_rows])
def test_a_clip_in_a_file_of_many_gets_its_status(
    tmp_path: Path,
    make: MakeParams,
    write: Callable[[Path, Sequence[tuple[str, tuple[str, ...], bytes]]], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    write(tmp_path / "train", [row[:3] for row in ROWS])
    write(tmp_path / "test", [("good", SPEECH, WAV)])
    run(tmp_path, of_files(make, 1.0, {"train": "train", "test": "test", "val_fraction": 1e-9}))
    rows = [row for row in read_manifest(tmp_path / PACKED / "manifest.csv") if row.split == "train"]
    for row, (name, _, _, status, reason) in zip(rows, ROWS, strict=True):
        if write is write_tar_rows and status == "duplicate":  # the names of its files are the ids
            status, reason = "ok", ""
        assert (row.status, name) == (status, name) and reason in row.reason and bool(row.reason) == (status != "ok")
        assert (row.samples > 0) == (status == "ok") and str(tmp_path) not in row.reason
        assert row.source.startswith("train:")
    good = [row for row in rows if row.status == "ok"]
    data = json.loads((tmp_path / "results/audioset/data.json").read_text())
    assert data["sampled_at"]["16000"] == 1 and sum(data["sampled_at"].values()) >= len(good) + 1
    assert "warning: 1 at 16 kHz are copies of a lower rate than 32 kHz" in capsys.readouterr().out


def test_rows_and_samples_with_something_missing(tmp_path: Path, make: MakeParams) -> None:
    def row(name: str | None, sound: bytes | None, labels: list[str] | None) -> dict[str, object]:
        return {"video_id": name, "audio": {"bytes": sound, "path": None}, "labels": labels}

    written = [row("a", WAV, ["Speech"]), row("b", None, ["Speech"]), row(None, WAV, ["Music"]), row(None, None, None)]
    forms.write_rows(tmp_path / "train.parquet", [*written, row("c", WAV, None), row("d", WAV, ["Spech"])])
    members = {
        "a/1.flac": WAV, "a/1.json": b'{"tag": ["Speech", "Music"]}', "b/1.txt": b"Male speech, man speaking\nMusic",
        "b/1.wav": WAV, "b/1.jpg": b"", "b/._1.wav": b"?", "c.cls": b"137", "c.ogg": WAV, "d.txt": b"/m/09x0r,/m/04rlf",
        "d.wav": WAV, "e.json": b'{"text": "rain"}', "e.wav": WAV, "f.json": b"[7]]", "f.wav": WAV, "g.wav": WAV,
        "sizes.csv": b"7", "id_abcdefghijk_30.0-40.0.wav": WAV, "id_abcdefghijk_30.0-40.0.cls": b"527",
    }  # fmt: skip
    forms.write_tar(tmp_path / "test.tar", members)
    run(tmp_path, of_files(make, 1.0, {"train": "*.parquet", "test": "test.tar", "val_fraction": 1e-9}))
    found = read_manifest(tmp_path / PACKED / "manifest.csv")
    assert [(row.id, row.labels, row.status, row.reason) for row in found] == [
        ("test/a/1", "/m/09x0r;/m/04rlf", "ok", ""),
        ("test/b/1", "/m/05zppz;/m/04rlf", "ok", ""),
        ("test/c", "/m/04rlf", "ok", ""),
        ("test/d", "/m/09x0r;/m/04rlf", "ok", ""),
        ("test/e", "", "unreadable", "e.json: has no labels or label or tag or tags"),
        ("test/f", "", "unreadable", "f.json: Extra data: line 1 column 4 (char 3)"),
        ("test/g", "", "bad_label", "no label"),
        ("abcdefghijk", "", "bad_label", "527 is not in data.label_list"),
        ("a", "/m/09x0r", "ok", ""),
        ("b", "/m/09x0r", "missing", "there is no sound beside its labels"),
        ("", "/m/04rlf", "ghost", "empty name"),
        ("", "", "missing", "an empty row"),
        ("c", "", "bad_label", "no label"),
        ("d", "", "bad_label", "Spech is not in data.label_list"),
    ]  # fmt: skip
    data = json.loads((tmp_path / "results/audioset/data.json").read_text())
    assert data["bad"] == {"train": 3, "val": 0, "test": 4}, "what is missing is no bad clip"


Make = Callable[[Path], object]


def cut(make: Make, keep: float) -> Make:
    """The first part of the file that `make` writes, as a share of it or in bytes."""

    def write(path: Path) -> None:
        make(path)
        os.truncate(path, int(path.stat().st_size * keep) if keep < 1 else int(keep))

    return write


def rows(**cells: object) -> Make:
    return lambda path: forms.write_rows(path, [cells])


def tar(**members: bytes) -> Make:
    return lambda path: forms.write_tar(path, members)


def replaced(name: str, new: Callable[[np.ndarray], np.ndarray]) -> Make:
    """An mp3 file with another data set `name`."""

    def write(path: Path) -> None:
        forms.write_mp3(path, forms.made("t", 3))
        with h5py.File(path, "r+") as file:
            values = new(file[name][:])
            del file[name]
            file[name] = values

    return write


NINE = forms.made("t", 9)
GOOD = {"video_id": "a", "audio": {"bytes": b""}, "labels": ["a"]}
BROKEN: dict[str, tuple[Make, str]] = {
    "cut parquet": (cut(lambda path: forms.write_parquet(path, NINE), 0.7), "cannot be read as parquet"),
    "no column": (rows(video_id="a", labels=["a"]), r"no column audio \(it has: video_id, labels\)"),
    "no bytes": (rows(**GOOD | {"audio": "a.wav"}), "column audio is string"),
    "one label": (rows(**GOOD | {"labels": "a"}), "column labels is string"),
    "cut mp3": (cut(lambda path: forms.write_mp3(path, NINE), 0.7), "cannot be read as HDF5"),
    "few bits": (replaced("target", lambda bits: bits[:, :10]), r"must be uint8 \(rows, 66\)"),
    "few rows": (replaced("target", lambda bits: bits[:2]), "differ in their number of rows"),
    "no bytes in HDF5": (replaced("mp3", lambda _: np.zeros((3, 2), np.uint8)), "must be uint8 of any length"),
    "cut tar": (
        cut(lambda path: forms.write_tar(path, forms.tar_members(NINE)), 0.5),
        "cannot be read as a tar|cut short",
    ),
    "tar cut between two members": (cut(tar(a=b"", b=b""), 1024), "cut short"),
    "two tars": (lambda path: (tar(a=b"")(path), path.write_bytes(2 * path.read_bytes())), "cut short or damaged"),
    "text": (lambda path: path.write_text("none"), "is not HDF5 .* parquet or tar"),
    "nothing": (lambda path: None, "is not there; name an existing file or folder, or a pattern"),
    "empty folder": (Path.mkdir, "no file below .* is HDF5"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_file_is_named_in_one_line(tmp_path: Path, make: MakeParams, what: str) -> None:
    write, message = BROKEN[what]
    write(tmp_path / "train")
    forms.write_parquet(tmp_path / "test", forms.made("e", 2))
    with pytest.raises(UserError, match=message) as raised:
        run(tmp_path, of_files(make, 1.0, {"train": "train", "test": "test"}))
    line = str(raised.value)
    assert "train" in line and "\n" not in line and len(line) < 500
    assert not (tmp_path / PACKED).exists()


def test_two_forms_in_a_split_or_a_file_named_twice_are_said(tmp_path: Path, make: MakeParams) -> None:
    forms.write_parquet(tmp_path / "a.parquet", forms.made("t", 2))
    forms.write_mp3(tmp_path / "b.hdf", forms.made("u", 2))
    forms.write_parquet(tmp_path / "test", forms.made("e", 2))
    for named, message in {("a.*", "b.*"): "differ in form", ("a.parquet", "a.*"): "is named twice"}.items():
        with pytest.raises(UserError, match=re.escape(message)):
            run(tmp_path, of_files(make, 1.0, {"train": named, "test": "test"}))


def test_home_folders_and_patterns_are_spelled_out(
    tmp_path: Path, make: MakeParams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    made = clips_of_splits()
    forms.write_form("parquet", tmp_path, made)
    (tmp_path / "train" / "README.md").write_text("not a part of it")
    (tmp_path / "work").mkdir()
    params = of_files(make, 1.28, {"train": "~/train", "val": "~/v*/*.parquet", "test": "~/**/test/part0[01].parquet"})
    run(tmp_path / "work", params)
    with contextlib.chdir(tmp_path / "work"):
        assert [list(open_clips(params, split).ids) for split in SPLITS] == [
            [clip.id for clip in clips] for clips in made.values()
        ]
