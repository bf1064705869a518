"""Sound files of every kind that a user's folder may hold, good and bad, each with the status that it must get."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

Make = Callable[[Path], object]
LONG = "l" * 251 + ".wav"  # 255 bytes, the most that a file system allows


@dataclass(frozen=True)
class Case:
    """`name` is the path in the table, `reason` a part of the one that the manifest gives."""

    what: str
    name: str
    make: Make
    status: str
    reason: str = ""
    labels: str = "Speech"


def sine(rate: int = 32_000, seconds: float = 0.5, frequency: float = 440.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * frequency * np.arange(round(rate * seconds)) / rate)


def sound(samples: np.ndarray | None = None, rate: int = 32_000, subtype: str | None = None, kind: str = "WAV") -> Make:
    """Writes `samples` (a sine, if none are given) in any format of libsndfile."""
    return lambda path: soundfile.write(path, sine(rate) if samples is None else samples, rate, subtype, format=kind)


def cut(make: Make, keep: float) -> Make:
    """The first part of the file that `make` writes."""

    def write(path: Path) -> None:
        make(path)
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * keep)] if keep < 1 else content[: int(keep)])

    return write


def patched(make: Make, offset: int, content: bytes) -> Make:
    """With other bytes at `offset`."""

    def write(path: Path) -> None:
        make(path)
        with open(path, "r+b") as file:
            file.seek(offset, os.SEEK_SET if offset >= 0 else os.SEEK_END)
            file.write(content)

    return write


def content(data: bytes) -> Make:
    return lambda path: path.write_bytes(data)


def link(target: str) -> Make:
    return lambda path: path.symlink_to(target)


def nothing(path: Path) -> None:
    pass


def with_one(value: float, channels: int = 1) -> np.ndarray:
    samples = np.tile(sine()[:, None], channels)
    samples[100, -1] = value
    return samples


def antiphase() -> np.ndarray:
    return np.stack([sine(), -sine()], axis=1)


def m4a(path: Path) -> None:
    wav = path.with_name(f"for_{path.name}.wav")
    soundfile.write(wav, sine(44_100, 3.0), 44_100)
    command = ["ffmpeg", "-v", "error", "-i", str(wav), "-c:a", "aac", "-movflags", "+faststart", str(path)]
    subprocess.run(command, check=True)


ULTRASOUND = sine(96_000, 0.5, 30_000) * np.hanning(48_000)
HTML = b"<!DOCTYPE html>\n<html><body><h1>404 Not Found</h1></body></html>\n" * 50
NOISE = np.random.default_rng(0)
HISS = NOISE.uniform(-0.3, 0.3, 96_000)
LENGTH = 22  # of a FLAC's samples: 36 bits, whose last four bytes are here

CASES = [
    # no file, or none that holds a sound
    Case("missing", "gone.wav", nothing, "missing", "no such file"),
    Case("empty path", "", nothing, "missing", "its path is empty"),
    Case("below a file", "mono.wav/a.wav", nothing, "missing", "no such file"),
    Case("name too long", "n" * 300 + ".wav", nothing, "missing", "no such file"),
    Case("dangling link", "dangling.wav", link("nowhere.wav"), "missing", "a link to a file that is not there"),
    Case("link loop", "loop.wav", link("loop.wav"), "unreadable", "Too many levels of symbolic links"),
    Case("link to a good file", "linked.wav", link("mono.wav"), "ok"),
    Case("folder", "folder.wav", Path.mkdir, "unreadable", "a folder, not a file"),
    Case("pipe, which would block", "pipe.wav", os.mkfifo, "unreadable", "no regular file"),
    Case("device without end", "zero.wav", link("/dev/zero"), "unreadable", "no regular file"),
    Case("no bytes", "bytes.wav", content(b""), "unreadable"),
    Case("text", "text.wav", content(b"this is no sound\n" * 99), "unreadable", "Format not recognised"),
    Case("web page as wav", "page.wav", content(HTML), "unreadable", "Format not recognised"),
    Case("web page as mp3", "page.mp3", content(HTML), "unreadable", "no sound in it"),
    Case("web page as flac", "page.flac", content(HTML), "unreadable"),
    Case("noise as wav", "noise.wav", content(NOISE.bytes(50_000)), "unreadable"),
    Case("noise as mp3", "noise.mp3", content(NOISE.bytes(50_000)), "unreadable"),
    Case("raw samples", "samples.raw", content(NOISE.bytes(50_000)), "unreadable", "raw samples"),
    Case("zero samples", "none.wav", sound(np.zeros(0)), "empty", "no samples"),
    Case("header only", "header.wav", cut(sound(), 44), "empty", "no samples"),
    Case("half a header", "half.wav", cut(sound(), 20), "unreadable"),
    # cut short or damaged
    Case("cut wav", "cut.wav", cut(sound(), 0.6), "unreadable", "cut short: 19182 of 32000 bytes"),
    Case("cut 24-bit wav", "cut24.wav", cut(sound(subtype="PCM_24"), 0.9), "unreadable", "cut short"),
    Case("cut flac", "cut.flac", cut(sound(kind="FLAC"), 0.6), "unreadable", "flac decoder lost sync"),
    Case("cut ogg", "cut.ogg", cut(sound(sine(seconds=3.0), kind="OGG"), 0.9), "unreadable", "last page is missing"),
    Case("cut opus", "cut.opus", cut(sound(sine(48_000, 3.0), 48_000, "OPUS", "OGG"), 0.9), "unreadable", "last page"),
    Case("cut mp3", "cut.mp3", cut(sound(sine(seconds=3.0), kind="MP3"), 0.6), "unreadable", "cut short"),
    Case("cut aiff", "cut.aiff", cut(sound(kind="AIFF"), 0.6), "unreadable", "cut short"),
    Case("cut au", "cut.au", cut(sound(kind="AU"), 0.6), "unreadable", "cut short"),
    Case("damaged flac", "damaged.flac", patched(sound(kind="FLAC"), -3_000, b"\0" * 1_000), "unreadable"),
    Case("damaged ogg", "damaged.ogg", patched(sound(HISS, kind="OGG"), -12_000, b"\0" * 200), "unreadable", "damaged"),
    Case(
        "flac of unknown length",
        "pipe.flac",
        patched(sound(kind="FLAC"), LENGTH, b"\0\0\0\0"),
        "unreadable",
        "how long",
    ),
    Case("flac said to be long", "long.flac", patched(sound(kind="FLAC"), LENGTH, b"\xff" * 4), "unreadable"),
    Case("wav from a pipe", "piped.wav", patched(sound(), 40, b"\xff" * 4), "ok"),
    Case("wav of no size", "unsized.wav", patched(sound(), 40, b"\0" * 4), "empty", "no samples"),
    Case("wav without channels", "channels.wav", patched(sound(), 22, b"\0\0"), "unreadable"),
    Case("wav without a rate", "rate0.wav", patched(sound(), 24, b"\0" * 4), "unreadable"),
    Case("wav at 1 Hz", "rate1.wav", patched(sound(), 24, struct.pack("<I", 1)), "low_rate", "sampled at 1 Hz"),
    Case("wav at 2 GHz", "rate2e9.wav", patched(sound(), 24, struct.pack("<I", 2**31 - 1)), "short"),
    # encodings
    *(
        Case(f"{subtype} {kind}", f"{subtype}.{kind.lower()}", sound(subtype=subtype, kind=kind), "ok")
        for kind, subtypes in {
            "WAV": ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ALAW", "ULAW", "IMA_ADPCM", "MS_ADPCM"),
            "FLAC": ("PCM_S8", "PCM_16", "PCM_24"),
            "AIFF": ("PCM_S8", "PCM_16", "FLOAT"),
            "OGG": ("VORBIS",),
            "MP3": ("MPEG_LAYER_III",),
            "RF64": ("PCM_16",),
            "W64": ("PCM_24",),
            "CAF": ("ALAC_16",),
        }.items()
        for subtype in subtypes
    ),
    Case("opus", "opus.ogg", sound(sine(48_000), 48_000, "OPUS", "OGG"), "ok"),
    Case("flac called wav", "flac.wav", sound(kind="FLAC"), "ok"),
    Case("mp3 called wav", "mp3.wav", sound(kind="MP3"), "ok"),
    Case("wav called mp3", "wav.mp3", sound(), "ok"),
    Case("unknown ending", "sound.xyz", sound(), "ok"),
    # values
    Case("float a little above 1", "loud.wav", sound(3 * sine(), subtype="FLOAT"), "ok"),
    Case("float at 1e30", "huge.wav", sound(1e30 * sine(), subtype="FLOAT"), "out_of_range", "peak 5e+29 times"),
    Case(
        "float scaled as int16", "int.wav", sound(30_000 * sine(), subtype="FLOAT"), "out_of_range", "scaled to -1..1"
    ),
    Case("double beyond float", "double.wav", sound(1e300 * sine(), subtype="DOUBLE"), "not_finite"),
    Case("a NaN", "nan.wav", sound(with_one(np.nan), subtype="FLOAT"), "not_finite", "NaN or infinite"),
    Case("a NaN in one channel", "nan2.wav", sound(with_one(np.nan, 2), subtype="FLOAT"), "not_finite"),
    Case("infinity", "inf.wav", sound(with_one(np.inf), subtype="DOUBLE"), "not_finite"),
    Case("minus infinity", "minus.wav", sound(with_one(-np.inf), subtype="FLOAT"), "not_finite"),
    Case("silence", "silence.wav", sound(np.zeros(16_000)), "silent", "zero at 16 bits"),
    Case("silence of minus zero", "minuszero.wav", sound(np.full(16_000, -0.0), subtype="FLOAT"), "silent"),
    Case("below 16 bits", "faint.wav", sound(1e-6 * sine(), subtype="FLOAT"), "silent", "zero at 16 bits"),
    Case("faint, but there", "soft.wav", sound(2e-3 * sine()), "ok"),
    Case("DC", "dc.wav", sound(np.full(16_000, 0.25)), "silent", "all samples are the same"),
    Case("DC at another rate", "dc44.wav", sound(np.full(22_050, 0.25), 44_100), "silent", "all samples are the same"),
    Case("DC under a sine", "offset.wav", sound(0.25 + sine()), "ok"),
    # lengths and rates
    Case("one sample", "one.wav", sound(np.array([0.5])), "short", "below 10 ms"),
    Case("3 ms", "3ms.wav", sound(sine(seconds=0.003)), "short", "3 ms, below 10 ms"),
    Case("10 ms", "10ms.wav", sound(sine(seconds=0.01)), "ok"),
    Case("11 minutes", "11min.wav", sound(sine(8_000, 660.0), 8_000), "ok"),
    *(
        Case(f"{rate} Hz", f"{rate}.wav", sound(rate=rate), "ok")
        for rate in (8_000, 11_025, 22_050, 32_000, 44_100, 48_000, 96_000, 192_000)
    ),
    Case(
        "above what 32 kHz holds",
        "ultrasound.wav",
        sound(ULTRASOUND, 96_000, "FLOAT"),
        "silent",
        "left at 32 kHz",
    ),
    # channels
    Case("mono", "mono.wav", sound(), "ok"),
    Case("stereo", "stereo.wav", sound(np.tile(sine()[:, None], 2)), "ok"),
    Case("six channels", "six.wav", sound(np.tile(sine()[:, None], 6)), "ok"),
    Case("one channel is silent", "left.wav", sound(np.stack([sine(), 0 * sine()], axis=1)), "ok"),
    Case("antiphase", "antiphase.wav", sound(antiphase()), "silent", "channels cancel each other"),
    Case("antiphase, lossy", "antiphase.ogg", sound(antiphase(), kind="OGG"), "silent", "channels cancel each other"),
    # names
    Case("name like an option", "-rf.wav", sound(), "ok"),
    Case("name of standard input", "-", sound(), "ok"),
    Case("quotes in the name", "a \"b\" 'c'.wav", sound(), "ok"),
    Case("comma in the name", "a, b.wav", sound(), "ok"),
    Case("unicode", "дом-音-é-🎵.wav", sound(), "ok"),
    Case("255 bytes", LONG, sound(), "ok"),
    Case("like a comment", "# a.wav", sound(), "ok"),
    Case("line end in the name", "a\nb.wav", sound(), "missing", "control character"),
    Case("carriage return in the name", "a\rb.wav", sound(), "missing", "control character"),
    Case("NUL in the name", "a\0b.wav", nothing, "missing", "control character"),
    Case("same content as mono.wav", "same.wav", sound(), "ok"),
    Case("listed twice", "mono.wav", nothing, "duplicate", "listed before"),
    Case("listed twice, otherwise written", "./stereo.wav", nothing, "duplicate", "listed before"),
    # labels
    Case("unknown label", "unknown.wav", sound(), "bad_label", "Spech is no AudioSet", "Spech"),
    Case("one unknown label", "unknown2.wav", sound(), "bad_label", "Spech is no AudioSet", "Music;Spech"),
    Case("no label", "unlabelled.wav", sound(), "bad_label", "no label", ""),
    Case("only a semicolon", "semicolon.wav", sound(), "bad_label", "no label", " ; "),
    Case("line end in a label", "line.wav", sound(), "bad_label", "control character", "Spe\nech"),
    Case("label repeated", "repeated.wav", sound(), "ok", "", "Speech;Speech; /m/09x0r"),
]
if Path("/proc/self/mem").exists():  # a regular file whose first byte cannot be read, by root either
    CASES += [Case("disk error", "mem.wav", link("/proc/self/mem"), "unreadable", "Input/output error")]
if shutil.which("ffmpeg"):
    CASES += [
        Case("m4a", "a.m4a", m4a, "ok"),
        Case("cut m4a", "cut.m4a", cut(m4a, 0.7), "unreadable", "corrupt input"),
        Case("web page as m4a", "page.m4a", content(HTML), "unreadable"),
    ]
