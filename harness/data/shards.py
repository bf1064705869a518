"""Packed audio: int16 samples at 32 kHz, clip after clip, in .npy files that are memory-mapped to read."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np

from harness.errors import UserError

RATE = 32_000  # Hz, the paper's
SHARD_SAMPLES = 512 * 1024 * 1024  # 1 GiB of int16
HEADER = np.lib.format.header_data_from_array_1_0(np.empty(0, np.int16))


def shard_name(index: int) -> str:
    return f"shard-{index:05d}.npy"


class ShardWriter:
    """Appends clips to shard files in `folder`; a file is finished before the next is begun, so memory stays small."""

    def __init__(self, folder: Path, limit: int = SHARD_SAMPLES) -> None:
        self._folder, self._limit = folder, limit
        self._index, self._offset = -1, limit
        self._file: BinaryIO | None = None

    def append(self, clip: np.ndarray) -> tuple[int, int]:
        """Write int16 (samples,); returns (shard, offset in samples)."""
        if clip.dtype != np.int16 or clip.ndim != 1:
            raise TypeError(f"a clip must be int16 and 1-D, is {clip.dtype} and {clip.ndim}-D")
        if self._offset and self._offset + len(clip) > self._limit:
            self._finish()
            self._index, self._offset = self._index + 1, 0
            self._file = open(self._folder / shard_name(self._index), "wb")  # noqa: SIM115
            self._write_header()
        assert self._file is not None
        self._file.write(clip.tobytes())
        position = self._index, self._offset
        self._offset += len(clip)
        return position

    def _write_header(self) -> None:
        """NumPy pads the header so that the length's digits can be filled in later."""
        assert self._file is not None
        self._file.seek(0)
        np.lib.format.write_array_header_1_0(self._file, HEADER | {"shape": (self._offset,)})

    def _finish(self) -> None:
        if self._file is not None:
            self._write_header()
            self._file.close()
            self._file = None

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
