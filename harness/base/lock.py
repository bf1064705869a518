"""A lock file: one process at a time, and none after its holder has died."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from harness.base.errors import UserError


@contextmanager
def alone(path: Path, what: str) -> Iterator[None]:
    """Holds the lock file `path`, which stays, while the block runs; the kernel frees it however the process ends.

    Raises UserError, naming the process, where another one holds it.
    """
    with _taken(path, what):
        yield


def _taken(path: Path, what: str) -> TextIO:
    """The file, locked as long as it is open, with this process's number in it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(path, "a+")  # noqa: SIM115
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read(32).strip()
            raise UserError(f"{path}: {what} runs already, as process {holder}; wait for it or stop it") from error
        file.truncate(0)
        print(os.getpid(), file=file, flush=True)
    except OSError as error:
        raise UserError(f"{path}: cannot be locked ({error.strerror}): free space or fix its rights") from error
    return file
