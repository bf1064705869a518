"""Copies the tables that the user names into data/raw, and lists the HDF5 files, which stay where they are."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from harness.base import paths
from harness.base.errors import UserError
from harness.base.files import write_csv
from harness.config.params import Audioset


def copy_table(key: str, source: str, target: Path) -> None:
    """Keep a table of the user's as `target`. Raises UserError, naming the key, where it cannot be read."""
    try:
        shutil.copyfile(source, target)
    except OSError as error:
        raise UserError(f"{key}: {source} cannot be read ({error.strerror}); name an existing CSV") from error


def fetch_audioset(files: Audioset, folder: Path) -> None:
    """The segment CSVs into `folder`, and a list of the HDF5 files, which stay where they are.

    Raises UserError, naming key and file, where one cannot be read.
    """
    for split, names in files.files("segments").items():
        for number, name in enumerate(names):
            copy_table(f"data.audioset.{split}_segments", name, folder / paths.fetched_segments(split, number))
    write_csv(folder / "hdf5.csv", ["split", "file", "bytes"], _hdf5_sizes(files))


def _hdf5_sizes(files: Audioset) -> Iterator[tuple[str, str, int]]:
    """Split, name and size of the files that are used in place."""
    for split, names in files.files("hdf5").items():
        for name in names:
            try:
                yield split, name, Path(name).stat().st_size
            except OSError as error:
                raise UserError(
                    f"data.audioset.{split}_hdf5: {name} cannot be read ({error.strerror}); name an existing HDF5 file"
                ) from error
