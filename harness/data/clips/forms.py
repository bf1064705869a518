"""The files that hold AudioSet's sounds and labels, out of the names, patterns and folders that a user gives."""

from __future__ import annotations

from pathlib import Path

import h5py

from harness.base.errors import UserError
from harness.base.names import spelled_out
from harness.config.params import Audioset
from harness.data.clips.hdf5 import opened

FORMS = "HDF5 (`waveform` or `mp3`), parquet or tar"


def sound_files(files: Audioset, split: str) -> tuple[Path, ...]:
    """The files that hold a split's sounds and labels; of a folder those below it that have one of the forms, sorted.

    Raises UserError, naming key and file, where one has no such form, or is named twice.
    """
    key = f"data.audioset.{split}"
    found: list[Path] = []
    for path in spelled_out(key, files.files("sounds")[split]):
        if path.is_dir():
            inside = sorted(each for each in path.rglob("*") if each.is_file() and form_of(each))
            if not inside:
                raise UserError(f"{key}: no file below {path} is {FORMS}; folders of sound files go into audio")
            found += inside
        elif form_of(path):
            found.append(path)
        else:
            raise UserError(f"{key}: {path} is not {FORMS}; name a file of such a form")
    twice = next((path for path in found if found.count(path) > 1), None) if len(set(found)) < len(found) else None
    if twice:
        raise UserError(f"{key}: {twice} is named twice; name each file once")
    return tuple(found)


def form_of(path: Path) -> str | None:
    """By content: `waveforms` (HDF5 as PANNs packs it), `mp3_hdf5` (as PaSST does), `parquet`, `tar`, or None.

    Raises UserError where the file cannot be read.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(512)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); mend it, or name another file") from error
    if head.startswith(b"PAR1"):
        return "parquet"
    if head[257:262] == b"ustar":
        return "tar"
    if not h5py.is_hdf5(path):
        return None
    with opened(path) as content:
        return "mp3_hdf5" if "mp3" in content else "waveforms"
