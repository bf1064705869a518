"""A lock file: one process at a time, and none after its holder has died."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from harness.base.errors import UserError


@contextmanager
def one_at_a_time(path: Path, what: str) -> Iterator[None]:
    """Holds the lock file `path`, which stays, while the block runs; the kernel frees it however the process ends.

    Raises UserError, naming the process, where another one holds it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path, timeout=0, fallback_to_soft=False)  # a soft lock would outlive a process that is killed
        lock.acquire()
        path.write_text(f"{os.getpid()}\n")
    except Timeout as error:
        holder = path.read_text()[:32].strip()
        raise UserError(f"{path}: {what} runs already, as process {holder}; wait for it or stop it") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be locked ({error.strerror}): free space or fix its rights") from error
    try:
        yield
    finally:
        lock.release()
