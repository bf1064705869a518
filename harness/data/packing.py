"""What every kind of data but `instruments` does with a clip: decode, resample, pack; or say why not."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from harness.data import audio
from harness.data.manifest import Row
from harness.files import sha256_of


def pack(row: Row, path: Path) -> tuple[Row, np.ndarray | None]:
    """The row with sha256, duration and status filled in, and int16 (samples,) at 32 kHz where that is `ok`."""
    try:
        if path.is_file():
            row = dataclasses.replace(row, sha256=sha256_of(path))
        waveform, rate = audio.decode(path)
        row = dataclasses.replace(row, duration=len(waveform) / rate)
        clip = audio.to_int16(audio.resample(waveform, rate))
        if not clip.any():
            raise audio.BadAudio("silent", "all samples are zero")
        return row, clip
    except audio.BadAudio as bad:
        return dataclasses.replace(row, status=bad.status, reason=bad.reason), None
    except OSError as error:
        return dataclasses.replace(row, status="unreadable", reason=error.strerror or str(error)), None
