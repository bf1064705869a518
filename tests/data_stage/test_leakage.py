"""The same recording in two splits: found on real recordings whatever was done to the copy, reported or refused."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import shutil
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
import soundfile
import soxr

from harness.base.errors import UserError
from harness.data.clips.clips import open_clips
from harness.data.clips.shards import RATE
from harness.data.featurize import featurize
from harness.data.fetching.esc10_files import Recording, fetch_esc10
from harness.data.packing import duplicates, leakage
from harness.data.packing.fingerprints import FINGERPRINT, SIZE, StoredFingerprints, clip_fingerprint
from harness.data.packing.leakage import MOST, NEAR, SAME, SplitClips, correlation, find_leakage
from harness.data.sources import instruments

from . import test_folder, test_hdf5
from .conftest import MakeParams
from .test_audioset import run, table

COLUMNS = ["split", "id", "other_split", "other_id", "same", "correlation"]


@pytest.fixture(scope="module")
def notes(packed: Path, make: MakeParams) -> list[np.ndarray]:
    """Every eighth recording of the test split, int16 at 32 kHz."""
    with contextlib.chdir(packed):
        source = open_clips(make(), "test").source  # type: ignore[attr-defined]
        return [np.array(source.packed(index)) for index in range(0, len(source), 8)]


def int16(waveform: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(waveform * 32768), -32768, 32767).astype(np.int16)


def encoded(waveform: np.ndarray, kind: str, subtype: str, rate: int = RATE) -> np.ndarray:
    """Through a lossy encoder, at another rate, and back."""
    file = io.BytesIO()
    soundfile.write(file, soxr.resample(waveform, RATE, rate), rate, subtype, format=kind)
    file.seek(0)
    samples, _ = soundfile.read(file, dtype="float32")
    return soxr.resample(samples, rate, RATE)


def copies(clip: np.ndarray, random: np.random.Generator) -> Iterator[tuple[str, np.ndarray]]:
    waveform = clip.astype(np.float32) / 32768
    shift = int(random.integers(300, 6000))
    yield "softer", int16(0.1 * waveform)
    yield "inverted", int16(-waveform)
    yield "later", np.pad(clip, (shift, 0))
    yield "ogg", int16(encoded(waveform, "OGG", "VORBIS", 44_100))
    yield "mp3", int16(encoded(waveform, "MP3", "MPEG_LAYER_III"))
    yield "noisy", int16(waveform + 0.03 * waveform.std() * random.standard_normal(len(waveform)))
    yield "all of it", int16(encoded(0.3 * np.pad(waveform, (shift, 0)), "OGG", "VORBIS", 22_050))


def shape(clip: np.ndarray) -> np.ndarray:
    return clip_fingerprint(clip)["shape"].astype(np.float32)


def test_copies_pass_both_thresholds_and_other_notes_do_not(notes: list[np.ndarray]) -> None:
    random = np.random.default_rng(0)
    for clip in notes:
        for what, copy in copies(clip, random):
            assert shape(clip) @ shape(copy) > NEAR, what
            assert correlation(clip, copy) >= SAME, what
    near = [(a, b) for a in range(len(notes)) for b in range(a) if shape(notes[a]) @ shape(notes[b]) > 0.6]
    assert len(near) >= 5, "something must be left to tell apart"
    assert all(correlation(notes[a], notes[b]) < SAME for a, b in near)


def test_correlation_is_of_the_best_shift_and_of_what_overlaps() -> None:
    random = np.random.default_rng(0)
    sound, other = int16(0.1 * random.standard_normal((2, 2 * RATE)))
    assert correlation(sound, sound) == pytest.approx(1.0, abs=1e-6)
    assert correlation(sound, other) < 0.1
    for shift in (1, 3, 5000):  # those at 8 kHz lie between the samples
        assert correlation(sound, sound[shift:]) > 0.99 and correlation(sound[shift:], sound) > 0.99
    cut = sound[: RATE // 2]  # a quarter of it
    assert correlation(sound, cut) > 0.98 and correlation(cut, sound) > 0.98
    assert correlation(sound, cut[: RATE // 8]) < 0.6, "a short piece alone is not the recording"
    assert correlation(sound, np.zeros(RATE, np.int16)) == 0.0
    assert correlation(sound, np.full(RATE, 1000, np.int16)) < SAME


def test_a_print_of_anything_is_finite_and_short_clips_have_one() -> None:
    for clip in (np.zeros(1, np.int16), np.ones(3, np.int16), np.full(400_001, -32768, np.int16)):
        found = clip_fingerprint(clip)
        assert np.isfinite(found["shape"]).all() and np.linalg.norm(found["shape"].astype(np.float32)) < 1.01


def write_folder(folder: Path, notes: list[np.ndarray]) -> str:
    """Ten notes that train, two others that test, and copies of the first three that do not train; their table."""
    (folder / "mine").mkdir()
    names = [f"{index}.flac" for index in range(12)]
    for name, clip in zip(names, notes, strict=False):
        soundfile.write(folder / "mine" / name, clip, RATE)
    shutil.copyfile(folder / "mine" / "0.flac", folder / "mine" / "same.flac")
    soft = 0.2 * np.pad(notes[1] / 32768, (5000, 0))
    soundfile.write(folder / "mine" / "soft.ogg", soft, RATE)
    soundfile.write(folder / "mine" / "again.wav", notes[2], RATE, "PCM_16")  # other bytes, the same samples
    lines = [f"{name},Piano,{'train' if index < 10 else 'test'}\n" for index, name in enumerate(names)]
    return "path,labels,split\n" + "".join(lines) + "same.flac,Piano,test\nsoft.ogg,Piano,test\nagain.wav,Piano,val\n"


def test_folder_reports_what_leaks_and_goes_on(
    tmp_path: Path, make: MakeParams, notes: list[np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    rows = test_folder.run(tmp_path, make, write_folder(tmp_path, notes))
    assert {row.status for row in rows} == {"ok"}
    found = [list(row.values()) for row in table(tmp_path / "results/folder/leakage.csv")]
    assert [row[:5] for row in found] == [
        ["test", "same.flac", "train", "0.flac", "content"],
        ["test", "soft.ogg", "train", "1.flac", "near"],
        ["val", "again.wav", "train", "2.flac", "content"],
    ]
    assert float(found[0][5]) == 1.0 and float(found[1][5]) >= SAME
    data = json.loads((tmp_path / "results/folder/data.json").read_text())
    assert data["leakage"] == {
        "test-val": {"content": 0, "near": 0, "pairs": 0},
        "test-train": {"content": 1, "near": 1, "pairs": 2},
        "val-train": {"content": 1, "near": 0, "pairs": 1},
    }
    said = "warning: 2 clips of test are in train too, 1 clips of val are in train too (leakage.csv lists them)"
    assert said in capsys.readouterr().out
    with contextlib.chdir(tmp_path):
        params = make(preset="folder", kind="folder", csv="mine/clips.csv", clip_seconds=1.0)
        featurize(params)
    assert said in capsys.readouterr().out, "also where nothing is done again"


def test_hdf5_rows_are_compared_too(tmp_path: Path, make: MakeParams) -> None:
    waveforms, _ = test_hdf5.write_hdf5(tmp_path / "train.h5", test_hdf5.names("t", 30), 1)
    for name, first, seed in (("val.h5", "v", 2), ("test.h5", "e", 3)):
        test_hdf5.write_hdf5(tmp_path / name, test_hdf5.names(first, 5), seed)
    with h5py.File(tmp_path / "test.h5", "r+") as file:
        file["waveform"][0] = waveforms[3]
        file["waveform"][4] = waveforms[7] // 3
    run(tmp_path, test_hdf5.of_files(make))
    found = [list(row.values())[:5] for row in table(tmp_path / "results/audioset/leakage.csv")]
    assert found == [
        ["test", "e0000000000", "train", "t0000000003", "content"],
        ["test", "e0000000004", "train", "t0000000007", "near"],
    ]


def test_esc10_refuses_a_recording_in_two_folds(tmp_path: Path, make: MakeParams, notes: list[np.ndarray]) -> None:
    folder = tmp_path / "mirror" / "001 - Dog bark"
    folder.mkdir(parents=True)
    recordings = [Recording(f"{fold}-7-A.ogg", folder.name, fold, "", "MIT", "me", "7", "none") for fold in range(1, 6)]
    for recording, clip in zip(recordings, notes, strict=False):
        soundfile.write(folder / recording.file, clip, RATE)
    soundfile.write(folder / "4-7-A.ogg", int16(0.3 * np.pad(notes[1], (900, 0)) / 32768), RATE)
    recordings = [Recording(**(vars(each) | {"sha256": digest(folder / each.file)})) for each in recordings]
    (tmp_path / "data/raw/esc10").mkdir(parents=True)
    fetch_esc10(tmp_path / "data/raw/esc10", tmp_path / "mirror", tmp_path / "cache", recordings)
    message = (
        r"data/raw/esc10: the same recording is in two splits: 2-7-A.ogg \(fold2\) and 4-7-A.ogg \(fold4\); "
        r"all such pairs \(1\) are in results/esc10/leakage.csv"
    )
    with contextlib.chdir(tmp_path), pytest.raises(UserError, match=message):
        featurize(make(preset="esc10", kind="esc10", clip_seconds=1.5))
    assert [list(row.values())[4] for row in table(tmp_path / "results/esc10/leakage.csv")] == ["near"]
    assert not (tmp_path / "data/packed/esc10").exists()


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_instruments_refuses_splits_that_are_not_made_by_cluster(
    tmp_path: Path, packed: Path, make: MakeParams, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A font holds both splits_clips of stereo recordings, and many notes twice."""
    monkeypatch.setattr(instruments, "FONTS", {"musescore": instruments.FONTS["musescore"]})
    monkeypatch.setattr(duplicates, "clusters", lambda excerpts, same: list(range(len(excerpts))))
    (tmp_path / "data").mkdir()
    (tmp_path / "data/raw").symlink_to(packed / "data/raw")
    message = r"instruments: the same recording is in two splits: .*musescore-.*, \.\.\.; all such pairs \(\d\d+\) are"
    with contextlib.chdir(tmp_path), pytest.raises(UserError, match=message):
        featurize(make())
    assert not (tmp_path / "data/packed/instruments").exists()


def test_the_default_preset_is_clean_and_says_so(packed: Path) -> None:
    assert (packed / "results/instruments/leakage.csv").read_text() == ",".join(COLUMNS) + "\n"


def side(split: str, fingerprints: np.ndarray | StoredFingerprints, clips: np.ndarray) -> SplitClips:
    return SplitClips(split, fingerprints, lambda index: f"{split}{index}", lambda index: clips[index % len(clips)])


def test_a_clip_that_all_others_equal_is_counted_once_and_looked_at_a_few_times() -> None:
    clips = int16(0.1 * np.random.default_rng(0).standard_normal((2, RATE)))
    fingerprints = np.array([clip_fingerprint(clip) for clip in clips])
    found = find_leakage(
        [side("test", np.tile(fingerprints, 700), clips), side("train", np.tile(fingerprints[:1], 5000), clips[:1])]
    )
    assert found.counts == {"test-train": {"content": 700, "near": 0, "pairs": 700 * MOST}}
    assert len(found.pairs) == leakage.LISTED
    assert [pair.other_id for pair in found.pairs[:MOST]] == [f"train{index}" for index in range(MOST)]


def test_memory_does_not_grow_with_the_number_of_clips(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    clips = int16(0.1 * random.standard_normal((1, RATE)))
    queries = np.zeros(100, FINGERPRINT)
    queries["shape"] = random.standard_normal((100, SIZE)) / 16
    queries["content"] = np.arange(100)
    peaks = []
    for count in (8_000, 40_000):
        fingerprints = np.tile(queries, count // 100)
        fingerprints["content"] += 100
        fingerprints["shape"][:-1] *= -1
        np.save(tmp_path / f"{count}.npy", fingerprints)
        del fingerprints
        tracemalloc.start()
        found = find_leakage(
            [side("test", queries, clips), side("train", StoredFingerprints(tmp_path / f"{count}.npy"), clips)]
        )
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert found.counts["test-train"]["pairs"] == 1 and found.pairs[0].other_id == f"train{count - 1}"
    assert peaks[1] < peaks[0] + 2**20, peaks
