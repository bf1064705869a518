"""AudioSet from folders of audio and segment CSVs: what is found, counted and packed, in parallel and after a kill."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from harness.base.errors import UserError
from harness.config.params import Audioset, Params, load
from harness.data.clips.clips import open_clips
from harness.data.clips.manifest import read_manifest
from harness.data.clips.splits import is_held_out
from harness.data.featurize import featurize
from harness.data.fetching.fetch import fetch
from harness.data.sources.catalog import catalog, ytid_of
from harness.data.sources.segments import read_segments

from .conftest import MakeParams

COMMENTS = (
    "# Segments csv created Sun Mar  5 10:54:31 2017\n# num_ytids=9\n# YTID, start_seconds, end_seconds, labels\n"
)
SPEECH, MALE, MUSIC = "/m/09x0r", "/m/05zppz", "/m/04rlf"
COLUMNS = {SPEECH: 0, MALE: 1, MUSIC: 137}
PACKED = Path("data/packed/audioset")
LISTED = {  # id -> labels
    "balanced.csv": {"Yaaaaaaaaaa": [SPEECH], "-bbbbbbbbbb": [SPEECH, MALE], "c_ccccccc_1": [MUSIC]},
    "unbalanced.csv": {"ddddddddddd": [MUSIC], "eeeeeeeeeee": [SPEECH], "fffffffffff": ["/m/unknown"]},
    "validation.csv": {"ggggggggggg": [MALE], "eeeeeeeeeee": [SPEECH]},
    "eval.csv": {"hhhhhhhhhhh": [SPEECH, MUSIC], "iiiiiiiiiii": [MALE], "jjjjjjjjjjj": [MALE], "ddddddddddd": [MUSIC]},
}
FILES = [  # those of iii and of one of the two of ddd are missing, that of jjj is no audio
    "audio/YYaaaaaaaaaa.wav",
    "audio/part00/Y-bbbbbbbbbb.flac",
    "audio/part00/deep/c_ccccccc_1_30.000_40.000.ogg",
    "more/ddddddddddd_30000_40000.mp3",
    "audio/eeeeeeeeeee.wav",
    "audio/fffffffffff.wav",
    "audio/ggggggggggg_30.WAV",
    "audio/Yhhhhhhhhhhh_30.wav",
    "audio/cover_of_hhhhhhhhhhh.wav",
    "audio/hhhhhhhhhhh.txt",
]


def tone(index: int, seconds: float = 0.5, rate: int = 32_000) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * (300 + 100 * index) * np.arange(int(rate * seconds)) / rate)


def write_segments(path: Path, listed: dict[str, list[str]], end: str = "\n") -> None:
    lines = (f'{ytid}, 30.000, 40.000, "{",".join(mids)}"\n' for ytid, mids in listed.items())
    path.write_text((COMMENTS + "".join(lines)).replace("\n", end), encoding="utf-8", newline="")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for index, name in enumerate(FILES):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / name, tone(index), 32_000, format="WAV" if name.endswith("txt") else None)
    (tmp_path / "audio" / "jjjjjjjjjjj.wav").write_text("<html>not found</html>")
    for name, listed in LISTED.items():
        write_segments(tmp_path / name, listed, "\r\n" if name == "balanced.csv" else "\n")
    return tmp_path


def of_tree(make: MakeParams, **data: object) -> Params:
    given: dict[str, object] = {
        "audio": ("audio", "more"),
        "train_segments": ("balanced.csv", "unbalanced.csv"),
        "val_segments": "validation.csv",
        "test_segments": "eval.csv",
    }
    return of_files(make, 1.0, given | data)


def of_files(make: MakeParams, seconds: float, files: dict[str, object], label_list: str = "audioset") -> Params:
    where = Audioset(**files)  # type: ignore[arg-type]
    return make(preset="audioset", kind="audioset", label_list=label_list, clip_seconds=seconds, audioset=where)


def run(folder: Path, params: Params, workers: int | None = 1) -> None:
    with contextlib.chdir(folder):
        fetch(params)
        featurize(params, workers)


def sums(folder: Path) -> dict[str, str]:
    """Every file below the folder and its SHA-256."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def table(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("name", "ytid"),
    [
        ("ddddddddddd.wav", "ddddddddddd"),
        ("Yddddddddddd.wav", "ddddddddddd"),
        ("Yaaaaaaaaaa.wav", "Yaaaaaaaaaa"),
        ("YYaaaaaaaaaa.wav", "Yaaaaaaaaaa"),
        ("-bbbbbbbbbb_30.000_40.000.flac", "-bbbbbbbbbb"),
        ("Yc_ccccccc_1_30000_40000.ogg", "c_ccccccc_1"),
        ("c_ccccccc_1_30.mp3", "c_ccccccc_1"),
        ("Yabcdefghij_30_40.M4A", "Yabcdefghij"),
        ("Yabcdefghij__30_40.m4a", "abcdefghij_"),
        ("id_ddddddddddd.m4a", "ddddddddddd"),
        ("ddddddddddd_30.0-40.0.ogg", "ddddddddddd"),
        ("ddddddddddd_30_40.opus", "ddddddddddd"),
        ("ddddddddddd.wav.gz", "ddddddddddd"),
        ("id_abcdefgh_30.wav", "id_abcdefgh"),
        ("dddddddddd.wav", None),
        ("ddddddddddd_a.wav", None),
        ("ddddddddddd.wav.part", None),
        ("cover_of_hhhhhhhhhhh.wav", None),
    ],
)
def test_the_id_in_a_file_name(name: str, ytid: str | None) -> None:
    assert ytid_of(name) == ytid


def test_of_two_files_with_one_id_the_first_is_taken_whatever_the_disk_says(tmp_path: Path) -> None:
    for name in ("b/ddddddddddd.wav", "a/z/ddddddddddd.wav", "a/Yddddddddddd.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert catalog([tmp_path / "a", tmp_path / "b"]).find("ddddddddddd") == "./Yddddddddddd.wav"
    assert catalog([tmp_path / "b", tmp_path / "a"]).find("ddddddddddd") == "./ddddddddddd.wav"
    assert catalog([tmp_path / "b"]).find("eeeeeeeeeee") is None
    with pytest.raises(UserError, match=r"data\.audioset\.audio: .*/c is no folder"):
        catalog([tmp_path / "c"])


def test_every_listed_clip_gets_its_split_status_labels_and_sound(tree: Path, make: MakeParams) -> None:
    params = of_tree(make)
    run(tree, params)
    rows = {(row.id, row.split): row for row in read_manifest(tree / PACKED / "manifest.csv")}
    assert {key: row.status for key, row in rows.items()} == {
        ("hhhhhhhhhhh", "test"): "ok",
        ("iiiiiiiiiii", "test"): "missing",
        ("jjjjjjjjjjj", "test"): "unreadable",
        ("ddddddddddd", "test"): "ok",
        ("ggggggggggg", "val"): "ok",
        ("eeeeeeeeeee", "val"): "ok",
        ("Yaaaaaaaaaa", "train"): "ok",
        ("-bbbbbbbbbb", "train"): "ok",
        ("c_ccccccc_1", "train"): "ok",
        ("ddddddddddd", "train"): "duplicate",
        ("eeeeeeeeeee", "train"): "duplicate",
        ("fffffffffff", "train"): "bad_label",
    }, "what tests or validates is not trained on"
    assert rows["fffffffffff", "train"].reason == "/m/unknown is not in data.label_list"
    with contextlib.chdir(tree):
        train, test = open_clips(params, "train"), open_clips(params, "test")
    assert list(train.ids) == ["Yaaaaaaaaaa", "-bbbbbbbbbb", "c_ccccccc_1"] and train.ids[-1] == "c_ccccccc_1"
    assert train.targets.shape == (3, 527) and train.targets[[2, 0]].dtype == np.float32
    for clip, row in enumerate(np.asarray(train.targets)):
        mids = LISTED["balanced.csv"][train.ids[clip]]
        assert np.flatnonzero(row).tolist() == [COLUMNS[mid] for mid in mids]
    np.testing.assert_array_equal(test.targets.sum(0), np.asarray(test.targets).sum(0))
    np.testing.assert_array_equal(test.targets.sum(1), [2, 1])
    np.testing.assert_array_equal(test.targets[:, np.array([0, 137])], [[1, 1], [0, 1]])
    for clips, index, file, tolerance in [
        (train, 0, 0, 1e-4),
        (train, 1, 1, 1e-4),
        (train, 2, 2, 3e-2),
        (test, 1, 3, 3e-2),
    ]:
        waveform = clips.waveform(index)
        assert waveform.shape == (32_000,) and waveform.dtype == np.float32
        np.testing.assert_allclose(waveform[2000:14_000], tone(file)[2000:14_000], atol=tolerance)


def test_coverage_says_what_is_listed_and_there(tree: Path, make: MakeParams) -> None:
    run(tree, of_tree(make))
    data = json.loads((tree / "results/audioset/data.json").read_text())
    assert data == json.loads((tree / PACKED / "summary.json").read_text())
    assert data["coverage"] == {
        "train": {"listed": 6, "ok": 3},
        "val": {"listed": 2, "ok": 2},
        "test": {"listed": 4, "ok": 2},
    }
    assert data["statuses_per_source"]["eval.csv"] == {"ok": 2, "missing": 1, "unreadable": 1}
    assert data["statuses_per_source"]["unbalanced.csv"] == {"duplicate": 2, "bad_label": 1}
    assert data["clips"] == {"train": 3, "val": 2, "test": 2} and "clips_per_class" not in data
    classes = {row["mid"]: row for row in table(tree / "results/audioset/coverage.csv")}
    assert len(classes) == 527
    assert (classes[MALE]["test_listed"], classes[MALE]["test_ok"], classes[MALE]["train_ok"]) == ("2", "0", "1")
    bad = {(row["id"], row["status"]) for row in table(tree / PACKED / "missing.csv")}
    assert ("iiiiiiiiiii", "missing") in bad and ("jjjjjjjjjjj", "unreadable") in bad and len(bad) == 5


def test_a_share_of_the_training_clips_validates_the_same_ones_whatever_else_is_there(
    tree: Path, make: MakeParams
) -> None:
    params = of_tree(make, val_segments=None, val_fraction=0.4)
    run(tree, params)
    before = {row.id: row.split for row in read_manifest(tree / PACKED / "manifest.csv")}
    assert all(split == "val" for name, split in before.items() if split != "test" and is_held_out(name, 0.4))
    assert set(before.values()) == {"train", "val", "test"}
    (tree / "audio" / "YYaaaaaaaaaa.wav").unlink()
    write_segments(tree / "balanced.csv", dict(reversed(LISTED["balanced.csv"].items())))
    run(tree, params)
    assert {row.id: row.split for row in read_manifest(tree / PACKED / "manifest.csv")} == before
    share = np.mean([is_held_out(f"{index:011d}", 0.005) for index in range(100_000)])
    assert 0.004 < share < 0.006


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("ddddddddddd, 30.000, 40.000", r"eval\.csv:4: is 'ddddddddddd,30.000,40.000', must be YTID, start_seconds"),
        ("dddddddddd, 30.000, 40.000, /m/04rlf", r"eval\.csv:4: is 'dddddddddd,"),
        ("ddddddddddd, soon, 40.000, /m/04rlf", r"eval\.csv:4: is 'ddddddddddd,soon"),
        ("ddddddddddd, 30.000, 40.000, /m/04rlf, /m/09x0r", r"eval\.csv:4: is .*\"mid,mid\""),
    ],
)
def test_a_wrong_line_is_named(tree: Path, make: MakeParams, line: str, message: str) -> None:
    (tree / "eval.csv").write_text(COMMENTS + line + "\n")
    with pytest.raises(UserError, match=message) as raised:
        run(tree, of_tree(make))
    assert "\n" not in str(raised.value) and not (tree / PACKED).exists()


def test_a_binary_or_missing_csv_is_named(tree: Path, make: MakeParams) -> None:
    with (
        contextlib.chdir(tree),
        pytest.raises(UserError, match=r"data\.audioset\.test_segments: gone\.csv is not there"),
    ):
        fetch(of_tree(make, test_segments="gone.csv"))
    (tree / "eval.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"eval\.csv: cannot be read as CSV"):
        run(tree, of_tree(make))


def test_segments_as_published(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("\ufeff" + COMMENTS + '--4gqARaEJE, 0.000, 10.000, "/m/068hy,/m/07q6cd_"\r\n\r\n')
    (segment,) = read_segments(tmp_path / "a.csv", "a.csv")
    assert (segment.id, segment.start, segment.end) == ("--4gqARaEJE", 0.0, 10.0)
    assert segment.mids == ("/m/068hy", "/m/07q6cd_")


def test_m4a_needs_ffmpeg_and_says_so(tree: Path, make: MakeParams, monkeypatch: pytest.MonkeyPatch) -> None:
    (tree / "audio" / "iiiiiiiiiii.m4a").write_bytes(b"\0\0\0\x18ftypM4A ")
    monkeypatch.setenv("PATH", str(tree))
    run(tree, of_tree(make))
    rows = {row.id: row for row in read_manifest(tree / PACKED / "manifest.csv")}
    assert rows["iiiiiiiiiii"].status == "unreadable"
    assert rows["iiiiiiiiiii"].reason == "m4a is read through ffmpeg, which is not on the PATH"


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg on the PATH")
def test_m4a_is_read_through_ffmpeg(tree: Path, make: MakeParams) -> None:
    soundfile.write(tree / "long.wav", tone(2, 1.0, 44_100), 44_100)
    target = tree / "audio" / "iiiiiiiiiii.m4a"
    subprocess.run(
        ["ffmpeg", "-v", "error", "-i", tree / "long.wav", "-c:a", "aac", "-b:a", "128k", target], check=True
    )
    run(tree, of_tree(make))
    with contextlib.chdir(tree):
        clips = open_clips(of_tree(make), "test")
    waveform = clips.waveform(list(clips.ids).index("iiiiiiiiiii"))
    spectrum = np.abs(np.fft.rfft(waveform[4000:28_000]))
    assert np.abs(waveform[4000:28_000]).max() == pytest.approx(0.5, abs=0.05)
    assert spectrum.argmax() * 32_000 / 24_000 == pytest.approx(500, abs=2)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"audioset.audio": None}, r"data\.audioset: must name either audio, with test_segments, or test"),
        ({"audioset": None}, r"data\.audioset: must name either"),
        ({"audioset.test": "eval.h5"}, r"data\.audioset: must name either"),
        ({"audioset.test_segments": None}, r"data\.audioset\.test_segments: missing"),
        ({"audioset.val_segments": "eval.csv"}, r"data\.audioset: eval\.csv is named twice"),
        ({"audioset.val_segments": None, "audioset.val_fraction": 0.0}, r"val_fraction: is 0\.0, must be above 0"),
        ({"audioset.val_fraction": 0.7}, r"data\.audioset\.val_fraction: is 0\.7, must be at most 0\.5"),
        ({"audioset.audio": 7}, r"data\.audioset\.audio: is 7, must be a list"),
        ({"audioset.val_segment": "a.csv"}, r"data\.audioset\.val_segment: unknown key; did you mean 'val_segments'"),
        ({"label_list": "used"}, r"data\.label_list: is 'used', must be audioset or"),
        ({"label_list": "mine"}, r"data\.label_list: is 'mine', must be used, audioset, or the path"),
    ],
)
def test_impossible_sources_are_named(tmp_path: Path, make: MakeParams, data: dict[str, object], message: str) -> None:
    plain = of_tree(make).model_dump(mode="json")
    plain["data"]["clip_seconds"] = 10.0
    for key, value in data.items():
        *above, name = key.split(".")
        (plain["data"][above[0]] if above else plain["data"])[name] = value
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(plain))
    with pytest.raises(UserError, match=message):
        load(tmp_path / "params.yaml")
