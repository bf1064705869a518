"""HDF5 files with mp3 in them, as PaSST's family packs them: `audio_name`, `mp3` (bytes), `target` (packed bits)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from harness.base.errors import UserError, some
from harness.data.clips.hdf5 import opened
from harness.data.packing import blocks
from harness.data.sources.encoded import Encoded

SETS = ("audio_name", "mp3", "target")


def pieces(path: Path, classes: int) -> list[tuple[int, int]]:
    """Rows, a block together."""
    with opened(path) as file:
        for name in SETS:
            if not isinstance(file.get(name), h5py.Dataset):
                raise UserError(f"{path}: no data set `{name}` (it has: {some(file)}); it needs {', '.join(SETS)}")
        names, sounds, targets = (file[name] for name in SETS)
        width = (classes + 7) // 8
        if h5py.check_vlen_dtype(sounds.dtype) != np.uint8 or sounds.ndim != 1:
            raise UserError(
                f"{path}: data set `mp3` is {sounds.dtype} {sounds.shape}, must be uint8 of any length (rows,)"
            )
        if targets.dtype != np.uint8 or targets.shape[1:] != (width,):
            rule = f"must be uint8 (rows, {width}), the bits of data.label_list's {classes} classes"
            raise UserError(f"{path}: data set `target` is {targets.dtype} {targets.shape}, {rule}")
        if not len(names) == len(sounds) == len(targets):
            counts = ", ".join(f"{name} {len(file[name])}" for name in SETS)
            raise UserError(f"{path}: its data sets differ in their number of rows ({counts}); give the whole file")
        if not len(names):
            raise UserError(f"{path}: no row in it; give the whole file")
        return [(first, min(first + blocks.ROWS, len(names))) for first in range(0, len(names), blocks.ROWS)]


def read(path: Path, first: int, last: int) -> Iterator[Encoded]:
    with opened(path) as file:
        names, targets, sounds = file["audio_name"][first:last], file["target"][first:last], file["mp3"]
        for row, name, bits in zip(range(first, last), names, targets, strict=True):
            text = name.decode("utf-8", "backslashreplace") if isinstance(name, bytes) else name
            labels = tuple(np.flatnonzero(np.unpackbits(bits)).tolist())
            try:
                sound, problem = sounds[row].tobytes(), ""
            except OSError as error:
                sound, problem = None, " ".join(str(error).split())
            yield Encoded(str(row), row, text.rstrip("\0 "), labels, sound, problem)
