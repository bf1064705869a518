"""Which file holds which AudioSet segment: the recordings below some folders, by YouTube id."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.base.errors import UserError

# YTID.wav and YYTID.wav (PANNs puts a Y before the id), each with or without _START or _START_END, in s or ms
NAME = re.compile(r"Y?(?P<id>[A-Za-z0-9_-]{11})(_\d+(\.\d+)?){0,2}\.(wav|flac|ogg|mp3|m4a)", re.ASCII | re.IGNORECASE)


def ytid_of(name: str) -> str | None:
    """The YouTube id in a file's name, or None.

    At most one reading fits, as the id has 11 characters and the name ends after it or goes on with `_` and a digit.
    """
    match = NAME.fullmatch(name)
    return match["id"] if match else None


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
    """All recordings below `roots`; links to folders are not followed, lest they lead in a circle.

    Raises UserError, naming it, where a root or what is below it is no folder that can be read, or has a name that is
    no UTF-8.
    """
    ids, names, places = [np.empty(0, "S11")], [np.empty(0, "S1")], [np.empty(0, np.int32)]
    folders: list[str] = []
    for root in roots:
        if not root.is_dir():
            raise UserError(f"data.audioset.audio: {root} is no folder; name those that hold the recordings")
        for folder, below, files in os.walk(root, onerror=_refuse):
            below.sort()
            found = sorted((name, ytid) for name in files if (ytid := ytid_of(name)))
            if found:
                _require_utf8(folder)
                names.append(np.array([name.encode() for name, _ in found]))
                ids.append(np.array([ytid.encode() for _, ytid in found], "S11"))
                places.append(np.full(len(found), len(folders), np.int32))
                folders.append(os.path.relpath(folder, root))
    every = np.concatenate(ids)
    order = np.argsort(every, kind="stable")
    return Catalog(every[order], np.concatenate(names)[order], np.concatenate(places)[order], tuple(folders))


def _refuse(error: OSError) -> None:
    raise UserError(f"data.audioset.audio: {error.filename}: {error.strerror}; fix its rights") from error


def _require_utf8(folder: str) -> None:
    """The manifest could not say where the clip is."""
    try:
        folder.encode()
    except UnicodeEncodeError as error:
        raise UserError(f"data.audioset.audio: the folder {folder!r} has a name that is no UTF-8; rename it") from error
