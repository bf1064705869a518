"""Copies the tables that the user names into data/raw, and lists the files of sounds, which stay where they are."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from harness.base import paths
from harness.base.errors import UserError
from harness.base.files import write_csv
from harness.base.names import spelled_out
from harness.config.params import Audioset


def copy_table(key: str, source: str, target: Path) -> None:
    """Keep a table of the user's as `target`. Raises UserError, naming the key, where it cannot be read."""
    try:
        shutil.copyfile(source, target)
    except OSError as error:
        raise UserError(f"{key}: {source} cannot be read ({error.strerror}); name an existing CSV") from error


def fetch_audioset(files: Audioset, folder: Path) -> None:
    """The segment CSVs into `folder`, and a list of the files that hold sounds, which stay where they are.

    Raises UserError, naming key and file, where one cannot be read.
    """
    for split, names in files.files("segments").items():
        key = f"data.audioset.{split}_segments"
        for number, path in enumerate(spelled_out(key, names)):
            copy_table(key, str(path), folder / paths.fetched_segments(split, number))
    write_csv(folder / "sounds.csv", ["split", "file", "bytes"], _sizes(files))


def _sizes(files: Audioset) -> Iterator[tuple[str, str, int]]:
    """Split, name and size of the files that hold sounds; of a folder all that are below it."""
    for split, names in files.files("sounds").items():
        key = f"data.audioset.{split}"
        for path in spelled_out(key, names):
            try:
                inside = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
                for each in inside:
                    yield split, str(each), each.stat().st_size
            except OSError as error:
                raise UserError(f"{key}: {path} cannot be read ({error.strerror}); name an existing file") from error
