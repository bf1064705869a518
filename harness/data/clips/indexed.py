"""Clips of the kinds that list them (`folder`, `audioset`), through their index: one read from disk at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from harness.base import paths
from harness.base.errors import UserError
from harness.base.files import read_json
from harness.config.params import Params
from harness.data.clips.forms import sound_files
from harness.data.clips.hdf5 import Hdf5Reader, read_in_place
from harness.data.clips.index import Index
from harness.data.clips.shards import RATE, read_clip


@dataclass(frozen=True)
class IndexedClips:
    """Clips as packed or in HDF5 files, zero-padded or cut at the end; `read` gives int16 (file, offset, samples)."""

    labels: list[str]
    index: Index
    read: Callable[[int, int, int], np.ndarray]
    samples: int

    @property
    def ids(self) -> Sequence[str]:
        return self.index.ids

    @property
    def targets(self) -> Any:
        """index.Targets: it stands for an array, which would be 4 GB for all of AudioSet."""
        return self.index.targets

    def __len__(self) -> int:
        return len(self.index)

    def packed(self, index: int) -> np.ndarray:
        """int16 (the clip's own samples,), of which at most those that are used."""
        file, offset, samples = self.index.place(index)
        return self.read(file, offset, min(samples, self.samples))

    def waveform(self, index: int) -> np.ndarray:
        waveform = np.zeros(self.samples, np.float32)
        clip = self.packed(index)
        np.multiply(clip, np.float32(1 / 32768), out=waveform[: len(clip)])
        return waveform


def open_indexed(params: Params, folder: Path, split: str, labels: list[str]) -> IndexedClips:
    """The split as featurized into `folder`. Raises UserError where it has no usable clip."""
    folder = folder.resolve()  # files are opened as they are needed, wherever the caller then is
    index = Index(folder, split, len(labels))
    if not len(index):
        raise UserError(f"{folder / 'manifest.csv'}: no usable clip in split {split}; see its column `reason`")
    return IndexedClips(labels, index, _reader(params, folder, split), round(params.data.clip_seconds * RATE))


def _reader(params: Params, folder: Path, split: str) -> Callable[[int, int, int], np.ndarray]:
    """Of the packed shards, or of the files that the split's clips are in (for `val` maybe the training files)."""
    if params.data.kind == "audioset":
        files = params.data.audioset_files
        place = files.split_with_files(split)
        form = read_json(folder / "summary.json").get("in_place", {}).get(place)
        known = read_in_place(folder.parent / paths.in_place(params.preset).name, place) if files.test else ()
        if form:
            from harness.data.clips.encoded import encoded_reader  # its decoders are needed nowhere else in training

            return encoded_reader(files, place, form, folder, known)
        if known:
            return Hdf5Reader(tuple(path.resolve() for path in sound_files(files, place)), known)
    return partial(read_clip, folder)
