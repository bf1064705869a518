"""A user's own clips, in any format: resampling, mixdown, labels, and what is wrong with a CSV said in one line."""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from harness.base.errors import UserError
from harness.data.clips.clips import open_clips
from harness.data.clips.manifest import Row, read_manifest
from harness.data.clips.shards import ShardWriter, open_shard
from harness.data.featurize import featurize
from harness.data.fetching.fetch import fetch

from .conftest import MakeParams


def run(folder: Path, make: MakeParams, table: str, label_list: str = "used", seconds: float = 1.0) -> list[Row]:
    """Fetch and featurize `folder`/mine/clips.csv; the manifest's rows."""
    (folder / "mine").mkdir(exist_ok=True)
    (folder / "mine" / "clips.csv").write_text(table, encoding="utf-8")
    params = make(preset="folder", kind="folder", csv="mine/clips.csv", label_list=label_list, clip_seconds=seconds)
    with contextlib.chdir(folder):
        fetch(params)
        featurize(params)
        return read_manifest(Path("data/packed/folder/manifest.csv"))


def sine(rate: int, seconds: float = 0.5, frequency: float = 1000.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * frequency * np.arange(int(rate * seconds)) / rate)


FORMATS = [
    ("WAV", "PCM_U8", 44_100, 1),
    ("WAV", "PCM_16", 48_000, 2),
    ("WAV", "PCM_24", 96_000, 6),
    ("WAV", "FLOAT", 32_000, 1),
    ("WAV", "DOUBLE", 22_050, 2),
    ("FLAC", "PCM_24", 44_100, 2),
    ("AIFF", "PCM_16", 11_025, 1),
    ("OGG", "VORBIS", 44_100, 2),
]


@pytest.mark.parametrize(("kind", "subtype", "rate", "channels"), FORMATS)
def test_a_sine_is_the_same_from_every_format(
    tmp_path: Path, make: MakeParams, kind: str, subtype: str, rate: int, channels: int
) -> None:
    (tmp_path / "mine").mkdir()
    name = f"sine.{kind.lower()}"
    soundfile.write(tmp_path / "mine" / name, np.tile(sine(rate)[:, None], channels), rate, subtype, format=kind)
    rows = run(tmp_path, make, "path,labels,split\n" + f"{name},Beep,test\n")
    assert [row.status for row in rows] == ["ok"] and rows[0].duration == pytest.approx(0.5, abs=1e-3)
    assert rows[0].sha256 == hashlib.sha256((tmp_path / "mine" / name).read_bytes()).hexdigest()
    with contextlib.chdir(tmp_path):
        clips = open_clips(make(preset="folder", kind="folder", csv="mine/clips.csv", clip_seconds=1.0), "test")
    waveform = clips.waveform(0)
    assert waveform.shape == (32_000,) and not waveform[16_010:].any()
    middle = slice(2_000, 14_000)
    tolerance = {"PCM_U8": 1e-2, "VORBIS": 2e-2}.get(subtype, 1e-3)
    np.testing.assert_allclose(waveform[middle], sine(32_000)[middle], atol=tolerance)


def test_resampling_filters_what_the_new_rate_cannot_hold(tmp_path: Path, make: MakeParams) -> None:
    (tmp_path / "mine").mkdir()
    soundfile.write(tmp_path / "mine" / "high.wav", sine(96_000, frequency=20_000), 96_000, "FLOAT")
    run(tmp_path, make, "path,labels,split\nhigh.wav,Beep,test\n")
    with contextlib.chdir(tmp_path):
        clips = open_clips(make(preset="folder", kind="folder", csv="mine/clips.csv", clip_seconds=0.5), "test")
    assert np.abs(clips.waveform(0)[1_000:15_000]).max() < 1e-3, "20 kHz would fold to 12 kHz"


def test_labels_bad_clips_and_order(tmp_path: Path, make: MakeParams) -> None:
    (tmp_path / "mine").mkdir()
    for name in ("a", "b, c", "é"):
        soundfile.write(tmp_path / "mine" / f"{name}.wav", sine(32_000), 32_000)
    (tmp_path / "mine" / "page.wav").write_text("<html>not found</html>")
    (tmp_path / "mine" / "empty.wav").write_bytes(b"")
    soundfile.write(tmp_path / "mine" / "none.wav", np.zeros(0), 32_000)
    soundfile.write(tmp_path / "mine" / "zero.wav", np.zeros(100), 32_000)
    soundfile.write(tmp_path / "mine" / "nan.wav", np.full(100, np.nan), 32_000, "FLOAT")
    (tmp_path / "mine" / "folder.wav").mkdir()
    table = (
        "\ufeffpath,labels,split\r\n"
        "a.wav,Piano;My own;/m/05r5c,train\r\n"
        '"b, c.wav",Speech,val\r\n'
        "é.wav,Another own; Speech ,test\r\n"
        "page.wav,Speech,test\r\nempty.wav,Speech,test\r\nnone.wav,Speech,test\r\nzero.wav,Speech,test\r\n"
        "nan.wav,Speech,test\r\nfolder.wav,Speech,test\r\ngone.wav,Speech,test\r\na.wav,Speech,test\r\n"
        "unlabelled.wav,;,train\r\n"
    )
    rows = run(tmp_path, make, table)
    assert [row.status for row in rows] == [
        *("ok", "ok", "ok", "unreadable", "unreadable", "empty", "silent", "not_finite", "unreadable", "missing"),
        *("duplicate", "bad_label"),
    ]
    assert all(row.reason for row in rows if row.status != "ok")
    params = make(preset="folder", kind="folder", csv="mine/clips.csv", clip_seconds=1.0)
    with contextlib.chdir(tmp_path):
        train, test = open_clips(params, "train"), open_clips(params, "test")
    assert train.labels == ["Speech", "Piano", "Another own", "My own"]
    np.testing.assert_array_equal(train.targets, [[0, 1, 0, 1]])
    np.testing.assert_array_equal(test.targets, [[1, 0, 1, 0]])
    assert list(test.ids) == ["é.wav"]


def test_all_of_audioset_as_the_label_list(tmp_path: Path, make: MakeParams) -> None:
    (tmp_path / "mine").mkdir()
    for name in "ab":
        soundfile.write(tmp_path / "mine" / f"{name}.wav", sine(32_000), 32_000)
    rows = run(tmp_path, make, "path,labels,split\na.wav,Field recording,train\nb.wav,My own,train\n", "audioset")
    assert [row.status for row in rows] == ["ok", "bad_label"]
    assert rows[1].reason == "My own is no AudioSet mid or display name"
    with contextlib.chdir(tmp_path):
        clips = open_clips(make(preset="folder", kind="folder", csv="mine/clips.csv"), "train")
    assert clips.targets.shape == (1, 527) and clips.targets[0, 526] == 1


LISTS = {
    "names": 'display_name\nWren\n"Owl, tawny"\nSpeech\n',
    "whole": '\ufeffindex,mid,display_name\r\n1,/x/owl,"Owl, tawny"\r\n2,,Speech\r\n0,/x/wren,Wren\r\n',
}


@pytest.mark.parametrize("which", LISTS)
def test_the_users_own_label_list(tmp_path: Path, make: MakeParams, which: str) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "birds.csv").write_text(LISTS[which], encoding="utf-8", newline="")
    for name in "abc":
        soundfile.write(tmp_path / "mine" / f"{name}.wav", sine(32_000), 32_000)
    table = 'path,labels,split\na.wav,"Owl, tawny;/m/09x0r",train\nb.wav,Wren,train\nc.wav,Piano,train\n'
    rows = run(tmp_path, make, table, "birds.csv")
    assert [row.status for row in rows] == ["ok", "ok", "bad_label"]
    assert rows[2].reason == "Piano is not in birds.csv"
    with contextlib.chdir(tmp_path):
        clips = open_clips(make(preset="folder", kind="folder", csv="mine/clips.csv"), "train")
    order = {"names": ["Wren", "Owl, tawny", "Speech"], "whole": ["Wren", "Owl, tawny", "Speech"]}[which]
    assert clips.labels == order, "a model has as many outputs as the list has classes, used or not"
    np.testing.assert_array_equal(clips.targets, [[0, 1, 1], [1, 0, 0]])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("name\nWren\n", r"birds\.csv: no column display_name; begin it with index,mid,display_name"),
        ("display_name\nWren\nWren\n", r"birds\.csv: class 'Wren' is empty, has a semicolon or is there twice"),
        ("display_name\nWren; Owl\n", r"birds\.csv: class 'Wren; Owl' is empty, has a semicolon"),
        ("index,mid,display_name\n1,/x/a,Wren\n2,/x/b,Owl\n", r"birds\.csv: its column index must count from 0 to 1"),
        ("index,mid,display_name\n0,/x/a,Wren\n1,/x/a,Owl\n", r"birds\.csv: class '/x/a' is empty, has a semi"),
        ("display_name\n", r"birds\.csv: no class in it"),
        ("display_name\nOwl, tawny\n", r"birds\.csv: a line has more values than there are columns"),
    ],
)
def test_a_wrong_label_list_is_named(tmp_path: Path, make: MakeParams, content: str, message: str) -> None:
    (tmp_path / "birds.csv").write_text(content)
    with pytest.raises(UserError, match=message) as raised:
        run(tmp_path, make, "path,labels,split\na.wav,Wren,train\n", "birds.csv")
    assert "\n" not in str(raised.value)
    (tmp_path / "birds.csv").unlink()
    with pytest.raises(UserError, match=r"data\.label_list: birds\.csv cannot be read"):
        run(tmp_path, make, "path,labels,split\na.wav,Wren,train\n", "birds.csv")


def test_coverage_of_a_users_table(tmp_path: Path, make: MakeParams) -> None:
    (tmp_path / "mine").mkdir()
    soundfile.write(tmp_path / "mine" / "a.wav", sine(32_000), 32_000)
    run(tmp_path, make, "path,labels,split\na.wav,Speech,train\nb.wav,Speech;Music,train\nc.wav,Music,test\n")
    data = json.loads((tmp_path / "results/folder/data.json").read_text())
    assert data["coverage"] == {
        "train": {"listed": 2, "ok": 1},
        "val": {"listed": 0, "ok": 0},
        "test": {"listed": 1, "ok": 0},
    }
    assert data["clips_per_class"]["Speech"] == {"train": 1, "val": 0, "test": 0}
    lines = (tmp_path / "results/folder/coverage.csv").read_text().splitlines()
    assert lines[0] == "mid,display_name,train_listed,train_ok,val_listed,val_ok,test_listed,test_ok"
    assert lines[1:] == ["/m/09x0r,Speech,2,1,0,0,0,0", "/m/04rlf,Music,1,0,0,0,1,0"]
    missing = (tmp_path / "data/packed/folder/missing.csv").read_text().splitlines()[1:]
    assert missing == ["b.wav,train,missing,no such file,b.wav", "c.wav,test,missing,no such file,c.wav"]
    credits = (tmp_path / "data/packed/folder/ATTRIBUTION.csv").read_text().splitlines()
    assert credits[1] == "a.wav,a.wav,/m/09x0r,clips.csv,,,"


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("path,split\na.wav,train\n", r"clips\.csv: no column labels; the first line must be path,labels,split"),
        ("", r"clips\.csv: no column path, labels, split"),
        ("path,labels,split\na.wav,Speech,dev\n", r"clips\.csv:2: split is 'dev', must be one of train, val, test"),
        ("path,labels,split\na.wav,Speech\n", r"clips\.csv:2: split is '', must be one of"),
    ],
)
def test_a_wrong_table_is_said_in_one_line(tmp_path: Path, make: MakeParams, table: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as raised:
        run(tmp_path, make, table)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "data" / "packed").exists() or not list((tmp_path / "data" / "packed").iterdir())


def test_a_split_without_clips_is_named(tmp_path: Path, make: MakeParams) -> None:
    (tmp_path / "mine").mkdir()
    soundfile.write(tmp_path / "mine" / "a.wav", sine(32_000), 32_000)
    run(tmp_path, make, "path,labels,split\na.wav,Speech,train\n")
    params = make(preset="folder", kind="folder", csv="mine/clips.csv")
    with contextlib.chdir(tmp_path), pytest.raises(UserError, match="no usable clip in split val"):
        open_clips(params, "val")
    with contextlib.chdir(tmp_path), pytest.raises(UserError, match="run `python -m harness featurize`"):
        open_clips(make(preset="other"), "val")


def test_shards_begin_anew_at_their_limit_and_hold_every_sample(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    clips = [random.integers(-32768, 32768, size, dtype=np.int16) for size in (400, 600, 1, 1500, 0, 999)]
    with ShardWriter(tmp_path, limit=1000) as shards:
        places = [shards.append(clip) for clip in clips]
    assert [shard for shard, _ in places] == [0, 0, 1, 2, 3, 3]
    for clip, (shard, offset) in zip(clips, places, strict=True):
        np.testing.assert_array_equal(open_shard(tmp_path, shard)[offset : offset + len(clip)], clip)
    assert [len(open_shard(tmp_path, index)) for index in range(4)] == [1000, 1, 1500, 999]
