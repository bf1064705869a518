"""Fingerprints of clips: 256 numbers that gain, encoding and a shift in time hardly change, and a hash of samples."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.fft

from harness.data.clips.shards import RATE

SECONDS = 10  # of a clip's beginning that are looked at
FRAME, HOP = 1024, 512  # samples at 16 kHz: 64 and 32 ms
FRAMES = SECONDS * RATE // 2 // HOP
LOWEST, HIGHEST, BANDS = 60.0, 7000.0, 17  # Hz: a range that encoders keep
FLOOR = 50.0  # dB below the loudest band: what is softer is an encoder's noise
RHYTHMS = np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 17, 21, 26, 32, 39])  # edges, in steps of 0.1 Hz
SIZE = (BANDS - 1) * (len(RHYTHMS) - 1)
FINGERPRINT = np.dtype([("content", "<u8"), ("shape", "<f2", (SIZE,))])
WINDOW = np.hanning(FRAME + 1)[:-1].astype(np.float32)


def _edges() -> np.ndarray:
    """Of the bands, in bins of the spectrum, evenly spaced on O'Shaughnessy's mel scale (1987)."""
    low, high = (2595 * np.log10(1 + hertz / 700) for hertz in (LOWEST, HIGHEST))
    hertz = 700 * (10 ** (np.linspace(low, high, BANDS + 1) / 2595) - 1)
    return np.rint(hertz * FRAME / (RATE / 2)).astype(int)


EDGES = _edges()


def clip_fingerprint(clip: np.ndarray) -> np.ndarray:
    """int16 (samples,) at 32 kHz -> a FINGERPRINT: 64 bits of the samples' SHA-256, and `shape`, of unit length.

    `shape` says how strongly the differences between neighbouring bands of the log-mel spectrogram move at which
    rhythm: the magnitudes of their Fourier transform over time, which a shift leaves as they are, as roots, less their
    mean over the bands. No BLAS: its threads would compete with the other workers.
    """
    found = np.zeros((), FINGERPRINT)
    found["content"] = int.from_bytes(hashlib.sha256(clip.tobytes()).digest()[:8])
    clip = clip[: SECONDS * RATE]
    clip = np.pad(clip, (0, max(2 * FRAME - len(clip), len(clip) % 2)))
    halved = np.add(clip[::2], clip[1::2], dtype=np.float32)  # 16 kHz, cheaply: what is folded is the clip's own too
    frames = np.lib.stride_tricks.sliding_window_view(halved, FRAME)[::HOP]
    spectrum = scipy.fft.rfft(frames * WINDOW, axis=1)[:, : EDGES[-1]]
    power = np.add.reduceat(spectrum.real**2 + spectrum.imag**2, EDGES[:-1], axis=1)
    level = 10 * np.log10(np.maximum(power, max(float(power.max()), 1.0) * 10 ** (-FLOOR / 10)))
    moves = scipy.fft.rfft(np.diff(level, axis=1), FRAMES, axis=0)[: RHYTHMS[-1]]
    shape = np.add.reduceat(moves.real**2 + moves.imag**2, RHYTHMS[:-1], axis=0) ** 0.25
    shape -= shape.mean(axis=1, keepdims=True)
    found["shape"] = (shape / max(float(np.linalg.norm(shape)), 1e-9)).ravel()
    return found


@dataclass(frozen=True)
class StoredFingerprints:
    """Those in a .npy file, of which only slices are read: a mapping of all would count as this process's memory."""

    path: Path

    def __len__(self) -> int:
        return len(np.load(self.path, mmap_mode="r"))

    def __getitem__(self, key: slice) -> np.ndarray:
        return np.array(np.load(self.path, mmap_mode="r")[key])
