"""A folder that appears whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.base.errors import UserError


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A new folder to fill, beside `folder`; takes its place if the block ends well and is deleted if not.

    A kill at any time leaves the old folder whole, the new one whole, or none. Raises UserError, naming the folder,
    where it cannot be written or the disk is full.
    """
    building, old = (folder.with_name(f".{folder.name}.{what}") for what in ("building", "old"))
    try:
        for left in (building, old):
            shutil.rmtree(left, ignore_errors=True)
        building.mkdir(parents=True)
        yield building
        if folder.exists():
            folder.rename(old)  # deleting takes a while, and would leave a part of it where it is looked for
        building.rename(folder)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error}): free space or fix its rights") from error
    finally:
        for left in (building, old):
            shutil.rmtree(left, ignore_errors=True)
