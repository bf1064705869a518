"""HDF5 files with mp3 in them, as PaSST's family packs them: `audio_name`, `mp3` (bytes), `target` (packed bits)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from harness.base.errors import UserError
from harness.data.clips.hdf5 import opened
from harness.data.packing import blocks
from harness.data.sources.encoded import Encoded
from harness.data.sources.hdf5 import common_length, data_sets, text_of

SETS = ("audio_name", "mp3", "target")


def pieces(path: Path, classes: int) -> list[tuple[int, int]]:
    """Rows, a block together."""
    with opened(path) as file:
        _, sounds, targets = data_sets(path, file, SETS, f"it needs {', '.join(SETS)}")
        width = (classes + 7) // 8
        if h5py.check_vlen_dtype(sounds.dtype) != np.uint8 or sounds.ndim != 1:
            raise UserError(
                f"{path}: data set `mp3` is {sounds.dtype} {sounds.shape}, must be uint8 of any length (rows,)"
            )
        if targets.dtype != np.uint8 or targets.shape[1:] != (width,):
            rule = f"must be uint8 (rows, {width}), the bits of data.label_list's {classes} classes"
            raise UserError(f"{path}: data set `target` is {targets.dtype} {targets.shape}, {rule}")
        return blocks.spans(common_length(path, file, SETS))


def read(path: Path, first: int, last: int) -> Iterator[Encoded]:
    with opened(path) as file:
        names, targets, sounds = file["audio_name"][first:last], file["target"][first:last], file["mp3"]
        for row, name, bits in zip(range(first, last), names, targets, strict=True):
            labels = tuple(np.flatnonzero(np.unpackbits(bits)).tolist())
            try:
                sound, problem = sounds[row].tobytes(), ""
            except OSError as error:
                sound, problem = None, " ".join(str(error).split())
            yield Encoded(str(row), row, text_of(name), labels, sound, problem)
