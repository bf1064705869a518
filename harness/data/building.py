"""A folder that appears whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.errors import UserError


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A new folder to fill, beside `folder`; takes its place if the block ends well and is deleted if not.

    Raises UserError, naming the folder, where it cannot be written or the disk is full.
    """
    building = folder.with_name(f".{folder.name}.building")
    try:
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir(parents=True)
        yield building
        shutil.rmtree(folder, ignore_errors=True)
        building.rename(folder)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error}): free space or fix its rights") from error
    finally:
        shutil.rmtree(building, ignore_errors=True)
