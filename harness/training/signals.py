"""SIGTERM and Ctrl-C as a wish that the training loop grants after the step that it is in."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOPPING = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def wishes() -> Iterator[list[int]]:
    """The signals received so far, a list that grows. A second one acts as if this were not here."""
    received: list[int] = []
    before = {number: signal.getsignal(number) for number in STOPPING}

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)
        for each, handler in before.items():
            signal.signal(each, handler)

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
