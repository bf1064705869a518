"""The right samples out of every file: scale, rate, channels and length, against references of their own."""

from __future__ import annotations

import contextlib
import json
import struct
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import soundfile

from harness.data.clips import decoding as audio
from harness.data.clips.clips import open_clips
from harness.data.clips.manifest import Row
from harness.data.packing.pack import pack

from .conftest import MakeParams
from .corpus import sine
from .test_bad_inputs import of_folder, run, write_table


def packed(path: Path) -> np.ndarray:
    row, clip = pack(Row("a", "train", "", path.name), path)
    assert clip is not None, row.reason
    return clip


ENCODINGS = {  # libsndfile's name: the largest error in steps of int16, by the encoding's own step, rounded or cut
    ("WAV", "PCM_U8"): 256,
    ("AIFF", "PCM_S8"): 256,
    ("WAV", "PCM_16"): 1.0,
    ("AIFF", "PCM_16"): 1.0,
    ("FLAC", "PCM_16"): 0.5,
    ("WAV", "PCM_24"): 0.51,
    ("FLAC", "PCM_24"): 0.51,
    ("WAV", "PCM_32"): 0.501,
    ("WAV", "FLOAT"): 0.501,
    ("WAV", "DOUBLE"): 0.501,
    ("CAF", "ALAC_16"): 1.0,
    ("W64", "PCM_24"): 0.51,
    ("WAV", "ALAW"): 520,  # half of the coarsest segment's 1024
    ("WAV", "ULAW"): 520,
    ("WAV", "MS_ADPCM"): 600,
}


@pytest.mark.parametrize(("kind", "subtype"), ENCODINGS)
def test_the_same_sine_in_every_encoding_gives_the_same_samples(tmp_path: Path, kind: str, subtype: str) -> None:
    path = tmp_path / f"a.{kind.lower()}"
    soundfile.write(path, sine(), 32_000, subtype, format=kind)
    error = np.abs(packed(path)[: len(sine())] - sine() * 32_768)
    assert error.max() <= ENCODINGS[kind, subtype]


WAV_FORMATS = {  # written by hand, so that no library's scale is its own judge: samples, bits, format, from -1..1
    "8 bits": (1, 8, lambda x: (np.rint(x * 128) + 128).clip(0, 255).astype(np.uint8).tobytes()),
    "16 bits": (1, 16, lambda x: np.rint(x * 2**15).astype("<i2").tobytes()),
    "24 bits": (1, 24, lambda x: b"".join(struct.pack("<i", int(v))[:3] for v in np.rint(x * 2**23))),
    "32 bits": (1, 32, lambda x: np.rint(x * 2**31).astype("<i4").tobytes()),
    "float": (3, 32, lambda x: x.astype("<f4").tobytes()),
    "double": (3, 64, lambda x: x.astype("<f8").tobytes()),
}


@pytest.mark.parametrize("name", WAV_FORMATS)
def test_the_scale_of_bytes_written_by_hand(tmp_path: Path, name: str) -> None:
    code, bits, encode = WAV_FORMATS[name]
    samples = np.array([0.0, 0.25, -0.5, 0.75, -1.0] * 100)
    data = encode(samples)
    head = struct.pack("<HHIIHH", code, 1, 32_000, 32_000 * bits // 8, bits // 8, bits)
    body = b"WAVEfmt " + struct.pack("<I", len(head)) + head + b"data" + struct.pack("<I", len(data)) + data
    (tmp_path / "a.wav").write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    np.testing.assert_array_equal(packed(tmp_path / "a.wav"), (samples * 32_768).astype(np.int16))


def test_float_above_full_scale_is_clipped_and_does_not_wrap(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", 3 * sine(), 32_000, "FLOAT")
    clip = packed(tmp_path / "a.wav")
    assert (clip.min(), clip.max()) == (-32_768, 32_767)
    np.testing.assert_array_equal(np.sign(clip[1:]), np.sign(np.round(3 * sine() * 32_768)[1:]))


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000])
def test_another_rate_is_converted_as_by_an_ideal_filter(tmp_path: Path, rate: int) -> None:
    """Noise in all bands that both rates hold, one period of it, which a Fourier transform converts exactly."""
    random = np.random.default_rng(rate)
    spectrum = np.zeros(rate // 2 + 1, complex)
    band = slice(20, int(0.9 * min(rate, 32_000) / 2))
    spectrum[band] = np.exp(2j * np.pi * random.random(band.stop - band.start))
    noise = np.fft.irfft(spectrum, rate)
    noise *= 0.5 / np.abs(noise).max()
    soundfile.write(tmp_path / "a.wav", noise, rate, "FLOAT")
    clip = packed(tmp_path / "a.wav") / 32_768
    reference = scipy.signal.resample(noise, 32_000)
    assert clip.shape == reference.shape
    middle = slice(1_000, -1_000)
    error = np.sqrt(np.mean((clip - reference)[middle] ** 2) / np.mean(reference[middle] ** 2))
    assert error < 1e-3, "60 dB"


@pytest.mark.parametrize("frequency", [17_000, 20_000, 40_000])
def test_what_32_khz_cannot_hold_does_not_fold_back(tmp_path: Path, frequency: int) -> None:
    tone = sine(96_000, 1.0, frequency) * np.hanning(96_000) + 0.1 * sine(96_000, 1.0)
    soundfile.write(tmp_path / "a.wav", tone, 96_000, "FLOAT")
    rest = packed(tmp_path / "a.wav") / 32_768 - 0.1 * sine(32_000, 1.0)
    assert np.abs(rest[1_000:-1_000]).max() < 1e-3


@pytest.mark.parametrize("channels", [1, 2, 3, 6, 8])
def test_channels_are_averaged(tmp_path: Path, channels: int) -> None:
    each = np.random.default_rng(channels).uniform(-0.9, 0.9, (4_000, channels))
    soundfile.write(tmp_path / "a.wav", each, 32_000, "DOUBLE")
    assert np.abs(packed(tmp_path / "a.wav") - each.mean(axis=1) * 32_768).max() <= 0.51


def test_short_clips_are_padded_at_the_end_and_long_ones_cut_there_and_both_are_counted(
    tmp_path: Path, make: MakeParams
) -> None:
    (tmp_path / "mine").mkdir()
    seconds = {"short.wav": 0.4, "right.wav": 1.0, "nearly.wav": 1.005, "long.wav": 1.5, "longer.wav": 70.0}
    for name, length in seconds.items():
        soundfile.write(tmp_path / "mine" / name, sine(seconds=length), 32_000)
    write_table(tmp_path, [(name, "Speech", "test") for name in seconds])
    run(tmp_path, of_folder(make))
    with contextlib.chdir(tmp_path):
        clips = open_clips(of_folder(make), "test")
    for index in range(len(seconds)):
        expected = np.zeros(32_000)
        kept = min(32_000, round(32_000 * seconds[clips.ids[index]]))
        expected[:kept] = sine(seconds=1.0)[:kept]
        np.testing.assert_allclose(clips.waveform(index), expected, atol=4e-5)
    lengths = json.loads((tmp_path / "results/folder/data.json").read_text())["lengths"]
    assert lengths == {
        "clip_seconds": 1.0,
        "padded": {"train": 0, "val": 0, "test": 1},
        "cut": {"train": 0, "val": 0, "test": 2},
    }


def test_of_a_long_file_only_a_minute_is_decoded(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.flac", sine(8_000, 100.0), 8_000)
    sound = audio.read_sound(tmp_path / "a.flac")
    assert sound.seconds == 100.0 and len(sound.waveform) == audio.LONGEST * 8_000
