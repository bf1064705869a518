"""Which file holds which AudioSet segment: the recordings below some folders, by YouTube id."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.base.errors import UserError

ENDINGS = ("wav", "flac", "ogg", "opus", "mp3", "m4a")
# YTID.wav, YYTID.wav (PANNs puts a Y before the id) and id_YTID.wav, each with or without _START, _START_END or
# _START-END, in s or ms, and packed by gzip or not
REST = rf"(?P<id>[A-Za-z0-9_-]{{11}})(_\d+(\.\d+)?([_-]\d+(\.\d+)?)?)?\.({'|'.join(ENDINGS)})(\.gz)?"
NAMES = tuple(re.compile(start + REST, re.ASCII | re.IGNORECASE) for start in ("Y?", "id_"))


UNDERSTOOD = (
    f"<id>, Y<id> and id_<id>, with _<start>, _<start>_<end> or _<start>-<end> behind it or not, then "
    f".{', .'.join(ENDINGS)}, or one of these and .gz; tar, parquet and HDF5 files go into data.audioset.test and train"
)
RECORDING = re.compile(
    rf".*\.({'|'.join(ENDINGS)}|aac|aiff?|au|mka|mp4|webm|wma|h5|hdf5?|parquet|tar|zip)(\.gz)?",
    re.IGNORECASE | re.S,
)
FEW = 9  # files without an id in their name for each with one: then it is no chance


def ytids_of(name: str) -> list[str]:
    """The YouTube ids that a file's name may stand for: none, one, or two for a name such as id_abcdefgh_30.wav.

    Else one reading fits, as the id has 11 characters and the name ends after it or goes on with `_` and a digit.
    """
    return [match["id"] for match in (pattern.fullmatch(name) for pattern in NAMES) if match]


def ytid_of(name: str) -> str | None:
    """The YouTube id in a name, or None; of two readings that without the prefix `id_`."""
    return next(iter(ytids_of(name)), None)


@dataclass(frozen=True)
class Catalog:
    """Sorted by id: `ids` S11; `names` of the files, in folder `folders[place]`, which is relative to its root."""

    ids: np.ndarray
    names: np.ndarray
    places: np.ndarray
    folders: tuple[str, ...]

    def find(self, ytid: str) -> str | None:
        """The path, relative to its root, of the first file with this id in the order of roots, folders and names."""
        index = int(np.searchsorted(self.ids, ytid.encode()))
        if index == len(self.ids) or self.ids[index] != ytid.encode():
            return None
        return os.path.join(self.folders[self.places[index]], self.names[index].decode())


def catalog(roots: Sequence[Path]) -> Catalog:
    """All recordings below `roots`; a folder that is linked too is looked through once, where it comes first.

    Raises UserError, naming it, where a root or what is below it is no folder that can be read, or has a name that is
    no UTF-8; and where next to no recording is named after a YouTube id.
    """
    ids, names, places = [np.empty(0, "S11")], [np.empty(0, "S1")], [np.empty(0, np.int32)]
    folders: list[str] = []
    strange, example = 0, ""
    for root, folder, files in walked(roots):
        found = sorted((name, ytid) for name in files for ytid in ytids_of(name))
        others = [name for name in files if RECORDING.fullmatch(name) and not ytids_of(name)]
        strange, example = strange + len(others), example or min(others, default="")
        if found:
            _require_utf8(folder)
            names.append(np.array([name.encode() for name, _ in found]))
            ids.append(np.array([ytid.encode() for _, ytid in found], "S11"))
            places.append(np.full(len(found), len(folders), np.int32))
            folders.append(os.path.relpath(folder, root))
    named = sum(map(len, ids))
    if strange > FEW * named:
        raise UserError(
            f"data.audioset.audio: {strange} of {strange + named} files there are named as {example!r}, which gives no "
            f"YouTube id; understood are {UNDERSTOOD}: rename them"
        )
    every = np.concatenate(ids)
    order = np.argsort(every, kind="stable")
    return Catalog(every[order], np.concatenate(names)[order], np.concatenate(places)[order], tuple(folders))


def walked(roots: Iterable[Path]) -> Iterator[tuple[Path, str, list[str]]]:
    """Every folder at and below `roots`, once, with its root and the names of its files."""
    entered: set[tuple[int, int]] = set()
    for root in roots:
        if not root.is_dir():
            raise UserError(f"data.audioset.audio: {root} is no folder; name those that hold the recordings")
        for folder, below, files in os.walk(root, onerror=_refuse, followlinks=True):
            if _was_entered(folder, entered):
                below.clear()
                continue
            below.sort()
            yield root, folder, files


def _was_entered(folder: str, entered: set[tuple[int, int]]) -> bool:
    """Whether it was, under this name or another: links may lead in a circle."""
    found = os.stat(folder)
    place = found.st_dev, found.st_ino
    if place in entered:
        return True
    entered.add(place)
    return False


def _refuse(error: OSError) -> None:
    raise UserError(f"data.audioset.audio: {error.filename}: {error.strerror}; fix its rights") from error


def _require_utf8(folder: str) -> None:
    """The manifest could not say where the clip is."""
    try:
        folder.encode()
    except UnicodeEncodeError as error:
        raise UserError(f"data.audioset.audio: the folder {folder!r} has a name that is no UTF-8; rename it") from error
