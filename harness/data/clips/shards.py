"""Packed audio: int16 samples at 32 kHz, clip after clip, in .npy files that are memory-mapped to read."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import DTypeLike

from harness.base.errors import UserError

RATE = 32_000  # Hz, the paper's
SHARD_SAMPLES = 512 * 1024 * 1024  # 1 GiB of int16


def to_int16(waveform: np.ndarray) -> np.ndarray:
    """Full scale 1.0 -> 32768, rounded, clipped at both ends."""
    return np.clip(np.rint(waveform * 32768.0), -32768, 32767).astype(np.int16)


def shard_name(index: int) -> str:
    return f"shard-{index:05d}.npy"


class GrowingArray:
    """A .npy file written piece by piece; its length goes into the header at the end, for which NumPy leaves room."""

    def __init__(self, path: Path, dtype: DTypeLike) -> None:
        self.length = 0
        self._header = np.lib.format.header_data_from_array_1_0(np.empty(0, dtype))
        self._file = open(path, "wb")  # noqa: SIM115
        self._write_header()

    def append(self, values: np.ndarray) -> int:
        """Write values (n,) of the file's type; returns the index of the first."""
        self._file.write(values.tobytes())
        first, self.length = self.length, self.length + len(values)
        return first

    def close(self) -> None:
        if not self._file.closed:
            self._write_header()
            self._file.close()

    def _write_header(self) -> None:
        self._file.seek(0)
        np.lib.format.write_array_header_1_0(self._file, self._header | {"shape": (self.length,)})


class ShardWriter:
    """Appends clips to shard files in `folder`; a file is finished before the next is begun, so memory stays small."""

    def __init__(self, folder: Path, limit: int = SHARD_SAMPLES) -> None:
        self._folder, self._limit = folder, limit
        self._index = -1
        self._shard: GrowingArray | None = None

    def append(self, clip: np.ndarray) -> tuple[int, int]:
        """Write int16 (samples,); returns (shard, offset in samples)."""
        if clip.dtype != np.int16 or clip.ndim != 1:
            raise TypeError(f"a clip must be int16 and 1-D, is {clip.dtype} and {clip.ndim}-D")
        if self._shard is None or (self._shard.length and self._shard.length + len(clip) > self._limit):
            self._finish()
            self._index += 1
            self._shard = GrowingArray(self._folder / shard_name(self._index), np.int16)
        return self._index, self._shard.append(clip)

    def _finish(self) -> None:
        if self._shard is not None:
            self._shard.close()

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._finish()


def open_shard(folder: Path, index: int) -> np.ndarray:
    """Memory-mapped int16 (samples,). Raises UserError, naming the file, where it is missing or cut short."""
    path = folder / shard_name(index)
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: no readable shard ({error}); run `python -m harness featurize` again") from error


def read_clip(folder: Path, shard: int, offset: int, samples: int) -> np.ndarray:
    """int16 (samples,), copied, so that no mapping stays open: thousands of shards cost a reader no memory."""
    return np.array(open_shard(folder, shard)[offset : offset + samples])
