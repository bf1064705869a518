"""Stage `link`: what DVC looks at of the user's own files, which lie anywhere.

DVC hashes what a link leads to, and remembers it by size, time and inode, so that `dvc status` sees any change of a
table, a sound or a weight file. Of sounds in such number or size that reading them takes long, it sees a list of sizes,
times and inodes instead, which `make repro` writes anew each time before it asks DVC.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from harness.base import paths
from harness.base.errors import UserError
from harness.base.files import state_of
from harness.base.folders import whole_folder
from harness.base.names import spelled_out
from harness.config.params import Data, Lists, Params
from harness.data.clips.forms import form_of, sound_files
from harness.data.clips.manifest import SPLITS
from harness.data.fetching.user_tables import BESIDE_FSD50K, fetch_tables, labels_beside
from harness.data.packing.pack import locate
from harness.data.sources import hdf5, mp3_hdf5
from harness.data.sources.catalog import walked
from harness.data.sources.folder import closed_list, table_rows
from harness.data.sources.hdf5_parts import files_behind
from harness.data.sources.lists import list_rows

SETS = {"waveforms": hdf5.SETS, "mp3_hdf5": mp3_hdf5.SETS}
MOST_FILES, MOST_BYTES = 20_000, 32 * 2**30  # that DVC reads itself: a minute or two, once


def link(params: Params) -> None:
    """Fill paths.linked(kind) and paths.LINKED_WEIGHTS; of recordings that `fetch` downloads nothing is linked.

    Raises UserError where a table or an HDF5 file that is named cannot be read, or a part of one is missing.
    """
    with whole_folder(paths.linked(params.data.kind)) as folder:
        _fill(folder / "tables", tables(params.data))
        sounds, size, digest = sorted(set(_sounds(params.data))), 0, hashlib.sha256()
        for name in sounds:
            state = state_of(Path(name))
            size += state[0] if state else 0
            digest.update(f"{name!r} {state}\n".encode())
        cheap = len(sounds) <= MOST_FILES and size <= MOST_BYTES
        _fill(folder / "sounds", map(Path, sounds if cheap else ()))
        noted = "" if cheap else f"{len(sounds)} files, SHA-256 of sizes, times and inodes: {digest.hexdigest()}\n"
        (folder / "sounds/noted.txt").write_text(noted)
    with whole_folder(paths.LINKED_WEIGHTS) as folder:
        for name, system in params.systems.items():
            _fill(folder / name, [Path(system.model.weights)] if system.model.weights else ())


def tables(data: Data) -> list[Path]:
    """The tables that the user names, each of which must be there, and what belongs to them."""
    if not data.is_brought:
        return []
    found = _named("data.label_list", [data.label_list] if data.label_list.endswith(".csv") else [])
    if data.kind == "audioset":
        for split, names in data.audioset_files.files("segments").items():
            found += _named(f"data.audioset.{split}_segments", names)
    elif isinstance(data.csv, Lists):
        lists = [path for split, names in data.csv.files().items() for path in _named(f"data.csv.{split}", names)]
        found += [each for path in lists for each in (path, labels_beside(path))]
    else:
        found += _named("data.csv", [str(data.csv)])
        if data.kind == "fsd50k":
            found += [Path(str(data.csv)).with_name(name) for name in BESIDE_FSD50K]
    return found


def _named(key: str, names: Iterable[str]) -> list[Path]:
    found = list(spelled_out(key, names))
    for path in found:
        if not path.is_file():
            raise UserError(f"{key}: {path} is no file; name an existing table")
    return found


def _sounds(data: Data) -> Iterator[str]:
    """Every file that samples may come from."""
    if data.kind == "audioset":
        for path in (path for split in SPLITS for path in sound_files(data.audioset_files, split)):
            form = form_of(path)
            yield from map(str, files_behind(path, SETS[form]) if form in SETS else [path])
        for _, folder, names in walked(spelled_out("data.audioset.audio", data.audioset_files.audio or ())):
            yield from (os.path.join(folder, name) for name in names)
    elif data.kind == "esc50":
        yield from map(str, (data.base / "audio").glob("*"))
    elif data.is_brought:
        with tempfile.TemporaryDirectory() as raw:
            fetch_tables(data, Path(raw))
            if isinstance(data.csv, Lists):
                rows, bases = list_rows(data.csv, Path(raw), closed_list(Path(raw, "labels.csv"), data.label_list))
                found = rows()
            else:
                table = Path(raw, "clips.csv") if data.kind == "fsd50k" else Path(str(data.csv))
                found, bases = table_rows(table), (data.base,)
            yield from (str(locate(bases, row.source)) for row in found)


def _fill(folder: Path, files: Iterable[Path]) -> None:
    """A link to each file that is there, named after it and by its path, and a list, as DVC warns of empty folders."""
    folder.mkdir()
    files = [path.absolute() for path in files if os.path.isfile(path)]  # which raises for no name
    for path in files:
        plain = re.sub(r"[^A-Za-z0-9._-]", "_", path.name)[:80]
        name = f"{plain}-{hashlib.sha256(os.fsencode(path)).hexdigest()[:12]}"  # no end that .dvcignore lists
        (folder / name).symlink_to(path)
    (folder / "count.txt").write_text(f"{len(files)} linked\n")
