"""Reads clips out of HDF5 files where they lie: a row a clip, as PANNs packs them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from harness.base.errors import UserError
from harness.base.files import read_json, state_of, write_json
from harness.data.clips.shards import to_int16

Files = tuple[tuple[Path, tuple[int, int, int]], ...]  # that a file's rows lie in, each with its state (base.files)
CHECKED_EVERY = 1.0  # seconds
FEATURIZE = "run `python -m harness featurize` again"


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
    """Reads waveforms of the files of a split, any row in any order; every process opens the files for itself.

    `files` are those that each of `paths` is made of, as they were when it was indexed. HDF5 gives zeros for what lies
    in one that is gone, so they are looked at whenever a file is opened, and every second while it is read.
    """

    paths: tuple[Path, ...]
    files: tuple[Files, ...]
    _handles: dict[tuple[int, int], Any] = field(default_factory=dict, repr=False, compare=False)
    _checked: dict[tuple[int, int], float] = field(default_factory=dict, repr=False, compare=False)

    def __call__(self, file: int, row: int, samples: int) -> np.ndarray:
        """int16 (samples,). Raises UserError, naming file and row, where it cannot be read or a part of it changed."""
        key = os.getpid(), file  # a handle inherited through a fork must not be used
        if key not in self._handles:
            require_unchanged(self.paths[file], self.files[file])
        try:
            if key not in self._handles:
                self._handles[key] = h5py.File(self.paths[file], "r", locking=False)["waveform"]
            waveform = self._handles[key][row, :samples]
        except (OSError, KeyError, RuntimeError, ValueError) as error:
            text = " ".join(str(error).split())
            raise UserError(f"{self.paths[file]}: row {row} cannot be read ({text}); give the whole file") from error
        if time.monotonic() - self._checked.get(key, -CHECKED_EVERY) >= CHECKED_EVERY:
            require_unchanged(self.paths[file], self.files[file])
            self._checked[key] = time.monotonic()
        return waveform if waveform.dtype == np.int16 else to_int16(waveform)

    def __reduce__(self) -> tuple[type[Hdf5Reader], tuple[tuple[Path, ...], tuple[Files, ...]]]:
        return Hdf5Reader, (self.paths, self.files)


def require_unchanged(path: Path, files: Files) -> None:
    """Raises UserError where one of the files that `path` is made of is gone or was changed."""
    for part, state in files:
        if (found := state_of(part)) != state:
            what = f"{part}, which rows of it lie in," if part != path else "it"
            raise UserError(
                f"{path}: {what} is gone; put it back, or run `python -m harness featurize` on what there is"
                if found is None
                else f"{path}: {what} has changed since it was indexed; {FEATURIZE}"
            )


def write_in_place(path: Path, made_of: Mapping[str, Sequence[Files]]) -> None:
    """Keep what the HDF5 files of each split are made of, and in what state they were when they were indexed."""
    if made_of:
        plain = {split: [[[str(part), *state] for part, state in each] for each in made_of[split]] for split in made_of}
        write_json(path, plain)
    else:
        path.unlink(missing_ok=True)


def read_in_place(path: Path, split: str) -> tuple[Files, ...]:
    """Of each of a split's HDF5 files. Raises UserError where nothing is known."""
    if not path.exists():
        raise UserError(f"{path}: missing, so that nobody knows whether HDF5 files changed; {FEATURIZE}")
    return tuple(
        tuple((Path(name).resolve(), (size, changed, inode)) for name, size, changed, inode in each)
        for each in read_json(path)[split]
    )
