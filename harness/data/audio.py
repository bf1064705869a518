"""Decoding and resampling: any file soundfile reads -> mono float32 at 32 kHz."""

from __future__ import annotations

import io
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import soxr

from harness.data.shards import RATE

BAND_LIMIT = 8_000  # Hz, see band_limited


class BadAudio(Exception):
    """A recording that cannot be packed: `status` is one of manifest.STATUSES, `reason` says it in words."""

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


def decode(source: Path | bytes) -> tuple[np.ndarray, int]:
    """Samples (n,) float32, the mean of the channels, and the rate in Hz.

    Raises BadAudio: `missing`, `unreadable` (no audio format known to libsndfile, or cut short), `empty`, `not_finite`.
    """
    try:
        file: Path | BinaryIO = io.BytesIO(source) if isinstance(source, bytes) else source
        samples, rate = soundfile.read(file, dtype="float32", always_2d=True)
    except (OSError, RuntimeError, TypeError) as error:  # soundfile's errors are RuntimeErrors
        if isinstance(source, Path) and not source.exists():
            raise BadAudio("missing", "no such file") from error
        raise BadAudio("unreadable", " ".join(str(error).split())) from error
    waveform = samples.mean(axis=1)
    if not len(waveform):
        raise BadAudio("empty", "no samples")
    if not np.isfinite(waveform).all():
        raise BadAudio("not_finite", "NaN or infinite samples")
    return waveform, rate


def decode_m4a(path: Path) -> tuple[np.ndarray, int]:
    """As `decode`, for AAC in MPEG-4, which libsndfile does not read: through ffmpeg, where it is on the PATH.

    Raises BadAudio, `unreadable` also where there is no ffmpeg.
    """
    if not path.exists():
        raise BadAudio("missing", "no such file")
    program = shutil.which("ffmpeg")
    if program is None:
        raise BadAudio("unreadable", "m4a is read through ffmpeg, which is not on the PATH")
    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder) / "decoded.wav"
        # file: and -f mov, so that neither the name nor the content can make ffmpeg open anything else
        source = [program, "-nostdin", "-v", "error", "-f", "mov", "-i", f"file:{path.resolve()}"]
        done = subprocess.run(
            [*source, "-map", "0:a:0", "-c:a", "pcm_f32le", str(wav)], capture_output=True, text=True, errors="replace"
        )
        if done.returncode or not wav.exists():
            raise BadAudio("unreadable", " ".join(done.stderr.split())[-200:] or f"ffmpeg ended with {done.returncode}")
        return decode(wav)


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


def to_int16(waveform: np.ndarray) -> np.ndarray:
    """Full scale 1.0 -> 32768, rounded, clipped at both ends."""
    return np.clip(np.rint(waveform * 32768.0), -32768, 32767).astype(np.int16)
