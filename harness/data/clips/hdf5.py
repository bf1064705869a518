"""Reads clips out of HDF5 files where they lie: a row a clip, as PANNs packs them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from harness.base.errors import UserError
from harness.data.clips.shards import to_int16


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """The file, read-only and without a lock, as it may lie on a read-only disk; h5py's errors become a UserError."""
    try:
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except (OSError, KeyError, RuntimeError, ValueError, TypeError) as error:
        raise UserError(
            f"{path}: cannot be read as HDF5 ({' '.join(str(error).split())}); give the whole file"
        ) from error


@dataclass(frozen=True)
class Hdf5Reader:
    """Reads waveforms of the files of a split, any row in any order; every process opens the files for itself."""

    paths: tuple[Path, ...]
    rows: tuple[int, ...]  # of each file when it was indexed
    _handles: dict[tuple[int, int], Any] = field(default_factory=dict, repr=False, compare=False)

    def __call__(self, file: int, row: int, samples: int) -> np.ndarray:
        """int16 (samples,). Raises UserError, naming file and row, where it cannot be read."""
        try:
            waveform = self._waveforms(file)[row, :samples]
            return waveform if waveform.dtype == np.int16 else to_int16(waveform)
        except (OSError, RuntimeError, ValueError) as error:
            text = " ".join(str(error).split())
            raise UserError(f"{self.paths[file]}: row {row} cannot be read ({text}); give the whole file") from error

    def _waveforms(self, file: int) -> Any:
        key = os.getpid(), file  # a handle inherited through a fork must not be used
        if key not in self._handles:
            path = self.paths[file]
            waveforms = h5py.File(path, "r", locking=False)["waveform"]
            if len(waveforms) != self.rows[file]:
                changed = f"has {len(waveforms)} rows, had {self.rows[file]} when it was indexed"
                raise UserError(f"{path}: {changed}; run `python -m harness featurize` again")
            self._handles[key] = waveforms
        return self._handles[key]

    def __reduce__(self) -> tuple[type[Hdf5Reader], tuple[tuple[Path, ...], tuple[int, ...]]]:
        return Hdf5Reader, (self.paths, self.rows)
