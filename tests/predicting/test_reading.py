"""Windows of recordings: the samples that `featurize` packs, wherever a file is cut into pieces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from harness.base.errors import UserError
from harness.data.clips import decoding
from harness.data.clips.shards import to_int16
from harness.predicting import reading
from harness.predicting.reading import Windows, read_ahead, recordings

SECONDS = 7.3


@pytest.fixture
def sound() -> np.ndarray:
    random, time = np.random.default_rng(0), np.arange(round(SECONDS * 44_100)) / 44_100
    mono = 0.3 * np.sin(2 * np.pi * (200 + 100 * time) * time) + 0.05 * random.standard_normal(time.size)
    return np.stack([mono, np.roll(mono, 100)], axis=1).astype(np.float32)


@pytest.mark.parametrize("block", [61.0, 2.0, 1.0])
@pytest.mark.parametrize("ending", ["wav", "flac", "ogg", "mp3", "aiff"])
@pytest.mark.parametrize("hop", [1.3, 0.5])
def test_windows_are_those_of_the_whole_recording(
    tmp_path: Path, sound: np.ndarray, ending: str, block: float, hop: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / f"long.{ending}"
    soundfile.write(file, sound, 44_100)
    whole = decoding.read_sound(file)
    wanted = to_int16(decoding.resample(whole.waveform, whole.rate)) * np.float32(1 / 32768)
    monkeypatch.setattr(reading, "BLOCK", block)
    length, step = round(1.3 * 32_000), round(hop * 32_000)
    blocks = list(read_ahead([file], Windows(length, step, None)))
    starts = [start for one in blocks for start in one.starts]
    windows = [window for one in blocks for window in one.windows]
    assert starts == [*range(0, len(wanted) - length, step), len(wanted) - length]
    assert all(np.array_equal(window, wanted[at : at + length]) for at, window in zip(starts, windows, strict=True))
    assert [one.last for one in blocks] == [False] * (len(blocks) - 1) + [True]


def test_what_is_shorter_than_a_window_is_padded_and_what_the_model_never_heard_taken_away(
    tmp_path: Path, sound: np.ndarray
) -> None:
    soundfile.write(tmp_path / "short.wav", sound[:22_050], 44_100)
    [[plain], [limited]] = [
        [
            window
            for one in read_ahead([tmp_path / "short.wav"], Windows(41_600, 41_600, limit))
            for window in one.windows
        ]
        for limit in (None, 8000.0)
    ]
    assert plain.shape == limited.shape == (41_600,) and plain[:16_000].any() and not plain[16_000:].any()
    samples = sound[:22_050].mean(axis=1)
    wanted = to_int16(decoding.band_limited(samples, 44_100)) * np.float32(1 / 32768)
    assert np.abs(limited[: len(wanted)] - wanted).max() <= 1 / 32768


def test_bad_files_are_named_and_the_rest_is_read(
    tmp_path: Path, sound: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "BLOCK", 2.0)
    quiet = np.concatenate(
        [np.zeros((3 * 44_100, 2), np.float32), sound]
    )  # silent for a while: no reason to leave it out
    soundfile.write(tmp_path / "a.wav", quiet, 44_100)
    soundfile.write(tmp_path / "b.flac", sound, 44_100)
    cut = (tmp_path / "b.flac").read_bytes()
    (tmp_path / "b.flac").write_bytes(cut[: len(cut) // 2])
    (tmp_path / "c.wav").write_text("no sound")
    soundfile.write(tmp_path / "d.wav", 0 * sound, 44_100)
    soundfile.write(tmp_path / "e.wav", sound, 44_100)
    (tmp_path / "notes.txt").write_text("no sound file")
    found = {
        one.file.name: one for one in read_ahead(recordings([tmp_path]), Windows(41_600, 41_600, None)) if one.last
    }
    assert list(found) == ["a.wav", "b.flac", "c.wav", "d.wav", "e.wav"]
    assert not found["a.wav"].problem and not found["e.wav"].problem
    for name, words in (("b.flac", "unreadable"), ("c.wav", "unreadable"), ("d.wav", "silent: all samples are zero")):
        assert found[name].problem.startswith(words), found[name].problem


def test_nothing_to_read_is_said(tmp_path: Path) -> None:
    (missing,) = read_ahead(recordings([tmp_path / "none.wav"]), Windows(41_600, 41_600, None))
    assert missing.problem == "missing: no such file"
    with pytest.raises(UserError, match=r"no sound file in it"):
        recordings([tmp_path])
