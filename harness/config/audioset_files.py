"""Which files the user's AudioSet is in, as the parameters name them, and what `fetch` keeps of them. No NumPy."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from harness.base.errors import UserError
from harness.base.files import write_csv
from harness.config.params import Audioset, Data


def of(data: Data) -> Audioset:
    assert data.audioset is not None  # checked when the parameters were read
    return data.audioset


def segment_files(data: Data) -> dict[str, tuple[str, ...]]:
    """Of each split the segment CSVs, as the parameters name them."""
    given = of(data)
    val, test = given.val_segments, given.test_segments
    return {"train": given.train_segments or (), "val": (val,) if val else (), "test": (test,) if test else ()}


def hdf5_files(data: Data) -> dict[str, tuple[str, ...]]:
    """Of each split the HDF5 files."""
    given = of(data)
    val, test = given.val_hdf5, given.test_hdf5
    return {"train": given.train_hdf5 or (), "val": (val,) if val else (), "test": (test,) if test else ()}


def held_out(data: Data) -> float:
    """The share of the training clips that validates: none where the parameters name other clips for that."""
    given = of(data)
    return 0.0 if given.val_segments or given.val_hdf5 else given.val_fraction


def fetched_name(split: str, number: int) -> str:
    """The name under which `fetch` keeps a split's `number`-th segment CSV."""
    return f"segments-{split}-{number}.csv"


def fetch_audioset(data: Data, folder: Path) -> None:
    """The segment CSVs into `folder`, and a list of the HDF5 files, which stay where they are.

    Raises UserError, naming key and file, where one cannot be read.
    """
    for split, names in segment_files(data).items():
        for number, name in enumerate(names):
            copy_table(f"data.audioset.{split}_segments", name, folder / fetched_name(split, number))
    write_csv(folder / "hdf5.csv", ["split", "file", "bytes"], _hdf5_sizes(data))


def copy_table(key: str, source: str, target: Path) -> None:
    """Keep a table of the user's as `target`. Raises UserError, naming the key, where it cannot be read."""
    try:
        shutil.copyfile(source, target)
    except OSError as error:
        raise UserError(f"{key}: {source} cannot be read ({error.strerror}); name an existing CSV") from error


def _hdf5_sizes(data: Data) -> Iterator[tuple[str, str, int]]:
    """Split, name and size of the files that are used in place."""
    for split, names in hdf5_files(data).items():
        for name in names:
            try:
                yield split, name, Path(name).stat().st_size
            except OSError as error:
                raise UserError(
                    f"data.audioset.{split}_hdf5: {name} cannot be read ({error.strerror}); name an existing HDF5 file"
                ) from error
