"""Reads clips that stay encoded where they lie: mp3 in HDF5 files, sounds in tar shards, files below folders."""

from __future__ import annotations

import os
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from harness.base.errors import UserError
from harness.base.files import sha256_of, state_of
from harness.base.names import spelled_out
from harness.config.params import Audioset
from harness.data.clips import decoding as audio
from harness.data.clips.forms import sound_files
from harness.data.clips.hdf5 import Files, require_unchanged
from harness.data.clips.shards import to_int16

IN_PLACE = ("mp3_hdf5", "tar", "files")  # forms of which one clip can be read without the others
SOURCES = "sources.txt"  # of `files`, in the packed folder: a SHA-256 and a path a line


@dataclass(frozen=True)
class EncodedReader:
    """Decodes clips of a split, any clip in any order; every process opens the files for itself.

    `form` is one of IN_PLACE. `paths` are the files and `files` their states when they were indexed; of `files` the
    list of paths and then the folders that they are relative to, of which the first that has one counts.
    """

    form: str
    paths: tuple[Path, ...]
    files: tuple[Files, ...]
    _handles: dict[tuple[int, int], Any] = field(default_factory=dict, repr=False, compare=False)

    def __call__(self, file: int, offset: int, samples: int) -> np.ndarray:
        """int16 (samples,) at 32 kHz, the bits that packing would have kept.

        `offset` is a row, or a byte in the tar or the list. Raises UserError, naming the file, where that has changed.
        """
        where = f"{self.paths[file]}: the clip at {offset}"
        if self.files:
            require_unchanged(self.paths[file], self.files[file])
        try:
            sound = audio.read_sound(self._content(file, offset))
        except (OSError, KeyError, RuntimeError, ValueError, tarfile.TarError, audio.BadAudio) as error:
            text = " ".join(str(error).split())
            raise UserError(f"{where} cannot be read ({text}); run `python -m harness featurize` again") from error
        clip = to_int16(audio.resample(sound.waveform, sound.rate))[:samples]
        if len(clip) < samples:
            raise UserError(f"{where} has changed since it was indexed; run `python -m harness featurize` again")
        return clip

    def _content(self, file: int, offset: int) -> bytes | Path:
        key = os.getpid(), file  # a handle inherited through a fork must not be used
        if key not in self._handles:
            path = self.paths[file]
            sounds = h5py.File(path, "r", locking=False)["mp3"] if self.form == "mp3_hdf5" else open(path, "rb")  # noqa: SIM115
            self._handles[key] = sounds
        handle = self._handles[key]
        if self.form == "mp3_hdf5":
            return handle[offset].tobytes()
        handle.seek(offset)
        if self.form == "files":
            digest, _, source = os.fsdecode(handle.readline()[:-1]).partition(" ")
            path = next((base / source for base in self.paths[1:] if (base / source).exists()), Path(source))
            if sha256_of(path) != digest:
                raise ValueError(f"{path} has changed")
            return path
        with tarfile.open(fileobj=handle, mode="r:") as tar:
            member = tar.next()
            content = tar.extractfile(member) if member else None
            return content.read() if content else b""

    def __reduce__(self) -> tuple[type[EncodedReader], tuple[str, tuple[Path, ...], tuple[Files, ...]]]:
        return EncodedReader, (self.form, self.paths, self.files)


def encoded_reader(given: Audioset, split: str, form: str, packed: Path, files: tuple[Files, ...]) -> EncodedReader:
    """Of the clips in `packed`, of the split whose files `given` names; `files` are their states."""
    if form == "files":
        roots = (root.resolve() for root in spelled_out("data.audioset.audio", given.audio or ()))
        return EncodedReader(form, (packed / SOURCES, *roots), ())
    return EncodedReader(form, tuple(path.resolve() for path in sound_files(given, split)), files)


def as_it_is(path: Path) -> Files:
    """The file with its present state, for EncodedReader. Raises UserError where it is gone."""
    state = state_of(path)
    if state is None:
        raise UserError(f"{path}: is gone; put it back, or name another file")
    return ((path, state),)
