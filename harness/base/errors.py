"""The exceptions that end `python -m harness` with one line on stderr and no traceback, and what keeps it short."""

from collections.abc import Iterable

LONGEST = 1000  # characters of a message: whatever a file holds, a terminal shows it


def one_line(message: str) -> str:
    """On one line, of a long one the beginning and the end, which says what to do."""
    text = " ".join(message.split())
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 300]} [...] {text[-300:]}"


def some(names: Iterable[object], most: int = 10) -> str:
    """The first few of many names, with commas, and how many more there are; `none` of none."""
    found = list(map(str, names))
    more = [f"and {len(found) - most} more"] if len(found) > most else []
    return ", ".join([*found[:most], *more]) or "none"


class UserError(Exception):
    """Bad input. The message names the file or key, the value, and what to do, on one line; exit status 2."""


class Stopped(Exception):
    """A signal asked the run to stop, and what it had is on disk; exit status 128 + `signal`."""

    def __init__(self, message: str, signal: int) -> None:
        super().__init__(message)
        self.signal = signal
