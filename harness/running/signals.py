"""SIGTERM and Ctrl-C as requests to stop, which the training loop answers after its current step."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from harness.base.errors import Stopped

STOPPING = (signal.SIGTERM, signal.SIGINT)
PATIENCE = 10  # seconds that a request to stop waits for clips that are being read
_waiting: list[bool] = []
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
            signal.alarm(PATIENCE)
        received.append(number)
        if now - first[0] > AT_ONCE:
            for each, handler in before.items():
                signal.signal(each, handler)
            signal.raise_signal(number)

    def overdue(number: int, frame: FrameType | None) -> None:
        if _waiting:
            why = "stopped while it waited for clips"
            raise Stopped(f"{why}; run it again to go on from its last checkpoint", received[0])
        signal.alarm(1)  # in a step, after which it stops, or waits

    for number in STOPPING:
        signal.signal(number, note)
    alarm = signal.signal(signal.SIGALRM, overdue)
    try:
        yield received
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, alarm)
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def may_take_long() -> Iterator[None]:
    """Waiting, in which a request to stop that is PATIENCE old raises Stopped: what is waited for may never come."""
    _waiting.append(True)
    try:
        yield
    finally:
        _waiting.pop()
