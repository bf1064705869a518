"""Decoding and resampling: any file soundfile reads -> mono float32 at 32 kHz; what a sound must be to be packed."""

from __future__ import annotations

import errno
import gzip
import io
import math
import os
import re
import shutil
import stat
import subprocess
import tempfile
import zlib
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import soxr

from harness.data.clips.shards import RATE
from harness.data.clips.truncated import cut_short

BAND_LIMIT = 8_000  # Hz, see band_limited
LONGEST = 61.0  # seconds that are read of a file: data.clip_seconds is at most 60, and the filter rings at the cut
LOWEST_RATE = 1_000  # Hz; below that a header is wrong, and nothing can be heard
SHORTEST = 0.01  # seconds: a hop of the spectrogram
LOUDEST = 10.0  # times full scale: decoders overshoot a little, samples of another scale by far
STEP = 2.0**-15  # of int16
CANCELLED = 1e-3  # of the channels' peak: what is left of them in their mean
LARGEST = 2**30  # bytes that are unpacked
UNKNOWN = 2**62  # frames; libsndfile says 2**63 - 1 where the header does not tell


class BadAudio(Exception):
    """A recording that cannot be packed: `status` is one of manifest.STATUSES, `reason` says it in words."""

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


@dataclass(frozen=True, eq=False)
class Sound:
    """`waveform` is float32 (n,), the mean of the channels, at `rate` Hz, of at most LONGEST seconds; `seconds` is the
    whole file's length, `peak` the largest absolute sample of any channel."""

    waveform: np.ndarray
    rate: int
    seconds: float
    peak: float


def decode(source: bytes) -> tuple[np.ndarray, int]:
    """Samples (n,) float32, the mean of the channels, and the rate in Hz.

    Raises BadAudio: `unreadable` (no audio format known to libsndfile, or cut short), `empty`, `not_finite`.
    """
    samples, rate, _ = _decoded(io.BytesIO(source), math.inf)
    return mono(samples), rate


def read_sound(source: Path | bytes) -> Sound:
    """The first LONGEST seconds of a file, which may be packed by gzip, or of one's content; m4a through ffmpeg.

    Raises BadAudio: `missing`, `unreadable` (a folder or the like, no audio format known, or cut short), `empty`,
    `not_finite`; OSError where the disk fails.
    """
    if isinstance(source, Path):
        check_file(source)
        m4a = source.suffix.lower() == ".m4a"
        if source.suffix.lower() == ".gz":
            source = _unpacked(source)
    if isinstance(source, bytes):
        m4a = source[4:8] == b"ftyp"  # every file of MPEG-4 begins so
    if m4a:
        samples, rate, frames = _decoded(io.BytesIO(_as_wav(source)), LONGEST)
    else:
        content = io.BytesIO(source) if isinstance(source, bytes) else source
        samples, rate, frames = _decoded(content, LONGEST, whole=True)
    return Sound(mono(samples), rate, frames / rate, float(np.abs(samples).max()))


def check_sound(sound: Sound) -> None:
    """Raises BadAudio, where nobody would hear the clip as it: `low_rate`, `out_of_range`, `silent`, `short`."""
    waveform = sound.waveform
    if sound.rate < LOWEST_RATE:
        raise BadAudio("low_rate", f"sampled at {sound.rate} Hz, below {LOWEST_RATE} Hz")
    if sound.peak > LOUDEST:
        raise BadAudio("out_of_range", f"peak {sound.peak:.3g} times full scale: samples must be scaled to -1..1")
    if sound.peak < STEP / 2:
        raise BadAudio("silent", "all samples are zero at 16 bits")
    if len(waveform) < SHORTEST * sound.rate:
        raise BadAudio("short", f"{1000 * sound.seconds:.3g} ms, below {1000 * SHORTEST:g} ms")
    if np.abs(waveform).max() < CANCELLED * sound.peak:
        raise BadAudio("silent", "its channels cancel each other in their mean")
    if np.ptp(waveform) < STEP:
        raise BadAudio("silent", "all samples are the same")


def resample(waveform: np.ndarray, rate: int) -> np.ndarray:
    """From `rate` to 32 kHz, with soxr's filter."""
    return soxr.resample(waveform, rate, RATE, quality="HQ") if rate != RATE else waveform


def band_limited(waveform: np.ndarray, rate: int) -> np.ndarray:
    """At 32 kHz with nothing left above 8 kHz: down to 16 kHz and up again, with soxr's filter both times.

    Source rates run from 11 to 48 kHz and go with the instrument, so that a model could tell classes by bandwidth.
    Those stored at 20 kHz and above have a bandwidth of at least 9.7 kHz; the few at lower rates are left out.
    """
    return soxr.resample(
        soxr.resample(waveform, rate, 2 * BAND_LIMIT, quality="HQ"), 2 * BAND_LIMIT, RATE, quality="HQ"
    )


def check_file(path: Path) -> None:
    """A pipe would be waited for and a device read without end: only regular files are opened.

    Raises BadAudio: `missing`, `unreadable`; OSError where the disk says neither.
    """
    try:
        kind = os.stat(path).st_mode
    except ValueError as error:  # a NUL in the name
        raise BadAudio("missing", "no file can have such a name") from error
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
            link = os.path.islink(path)
            raise BadAudio("missing", "a link to a file that is not there" if link else "no such file") from error
        raise
    if not stat.S_ISREG(kind):
        raise BadAudio("unreadable", "a folder, not a file" if stat.S_ISDIR(kind) else "no regular file")


def mono(samples: np.ndarray) -> np.ndarray:
    """(n, channels) -> their mean (n,); sixteen times as fast as mean(axis=1), which goes from sample to sample."""
    return reduce(np.add, samples.T) / np.float32(samples.shape[1])


def _unpacked(path: Path) -> bytes:
    """What gzip packed, as far as it is no bomb."""
    try:
        with gzip.open(path) as file:
            content = file.read(LARGEST + 1)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise BadAudio("unreadable", f"gzip: {error}") from error
    if len(content) > LARGEST:
        raise BadAudio("unreadable", f"gzip: more than {LARGEST} bytes in it")
    return content


def _decoded(source: Path | BinaryIO, longest: float, whole: bool = False) -> tuple[np.ndarray, int, int]:
    """float32 (n, channels), the rate in Hz and the number of frames in the whole file, of which n are read; `whole`:
    it must not be cut short."""
    try:
        # an absolute name is never the "-" that libsndfile takes for standard input
        name = os.fsencode(source.absolute()) if isinstance(source, Path) else source
        with soundfile.SoundFile(name) as sound:
            rate, frames = sound.samplerate, sound.frames
            if frames > UNKNOWN:
                raise BadAudio("unreadable", "its header does not say how long it is; write it to a file, not a pipe")
            wanted = int(min(frames, longest * rate))
            samples = sound.read(wanted, dtype="float32", always_2d=True)
            missing = cut_short(source, sound, wanted, len(samples)) if whole else ""
    except (RuntimeError, TypeError, ValueError) as error:  # soundfile's errors are RuntimeErrors
        raise BadAudio("unreadable", in_words(error)) from error
    if missing:
        raise BadAudio("unreadable", missing)
    if not len(samples):
        raise BadAudio("empty", "no samples")
    if not np.isfinite(samples).all():
        raise BadAudio("not_finite", "NaN or infinite samples")
    return samples, rate, frames


def in_words(error: Exception) -> str:
    """Without the path, so that a copy elsewhere is the same data."""
    if isinstance(error, TypeError):  # soundfile's, of a file that ends in .raw
        return "raw samples, of which no header says what they are"
    text = " ".join(getattr(error, "error_string", str(error)).split())
    return "no sound in it" if text.startswith("File does not exist") else text  # said of what is no mp3 after all


def _as_wav(source: Path | bytes) -> bytes:
    """AAC in MPEG-4, which libsndfile does not read: at most LONGEST seconds of it, where ffmpeg is on the PATH."""
    program = shutil.which("ffmpeg")
    if program is None:
        raise BadAudio("unreadable", "m4a is read through ffmpeg, which is not on the PATH")
    if isinstance(source, bytes):  # ffmpeg must be able to go back and forth in it
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "it").write_bytes(source)
            return _as_wav(Path(folder) / "it")
    # file: and -f mov, so that neither the name nor the content can make ffmpeg open anything else
    command = [program, "-nostdin", "-v", "error", "-xerror", "-f", "mov", "-i", f"file:{source.resolve()}"]
    target = ["-map", "0:a:0", "-t", str(LONGEST), "-c:a", "pcm_f32le", "-f", "wav", "-"]
    done = subprocess.run([*command, *target], capture_output=True)
    if done.returncode or not done.stdout:
        said = done.stderr.decode(errors="replace").replace(str(source.resolve()), source.name)
        said = " ".join(re.sub(r" @ 0x[0-9a-f]+", "", said).split())  # the same at every call
        raise BadAudio("unreadable", said[:200] or f"ffmpeg ended with {done.returncode}")
    return done.stdout
