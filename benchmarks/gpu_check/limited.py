"""A command with a time limit, at which it is stopped with everything that it started. Standard library only."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

GRACE = 3.0  # seconds between asking and killing


def run_limited(
    command: Sequence[str], seconds: float, output: IO[bytes] | None, environment: Mapping[str, str]
) -> int | None:
    """Its exit status, or None where it was stopped; both of its streams go to `output` (None: to ours)."""
    process = subprocess.Popen(
        command, stdout=output, stderr=subprocess.STDOUT if output else None, env=environment, start_new_session=True
    )
    try:
        return process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        return None
    finally:
        if process.poll() is None:
            stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process and its descendants, also those in sessions of their own, as torchrun's workers are."""
    everyone = [process.pid, *descendants(process.pid)]
    send(everyone, signal.SIGTERM)
    try:
        process.wait(timeout=GRACE)
    except subprocess.TimeoutExpired:
        everyone = list({*everyone, *descendants(process.pid)})
    send(everyone, signal.SIGKILL)
    process.wait()


def send(processes: Sequence[int], number: int) -> None:
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, number)


def descendants(ancestor: int) -> list[int]:
    """Of a Linux process, by /proc."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            after_name = path.read_text().rpartition(")")[2].split()
        except OSError:  # gone meanwhile
            continue
        parents[int(path.parent.name)] = int(after_name[1])
    found, last = [], [ancestor]
    while last:
        last = [child for child, parent in parents.items() if parent in last]
        found += last
    return found


class Clock:
    """Seconds left of a budget."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        return self._end - time.monotonic()
