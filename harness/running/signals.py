"""SIGTERM and Ctrl-C as requests to stop, which the training loop answers after its current step."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOPPING = (signal.SIGTERM, signal.SIGINT)
AT_ONCE = 5.0  # seconds in which a second signal repeats the request: launchers signal a process and its group


@contextmanager
def stop_requests() -> Iterator[list[int]]:
    """The signals received so far, a list that grows. One that comes AT_ONCE after the first acts as if not caught."""
    received: list[int] = []
    first = [0.0]
    before = {number: signal.getsignal(number) for number in STOPPING}

    def note(number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if not received:
            first[0] = now
        received.append(number)
        if now - first[0] > AT_ONCE:
            for each, handler in before.items():
                signal.signal(each, handler)
            signal.raise_signal(number)

    for number in STOPPING:
        signal.signal(number, note)
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def reader(_: int) -> None:
    """In a process that reads clips: SIGTERM ends it, and Ctrl-C is for the training process to act on."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
