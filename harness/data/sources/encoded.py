"""A recording as a form of AudioSet gives it: still encoded, with its name and labels as they are written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Encoded:
    """`place` says where it is in its file, `at` where clips.encoded finds its sound. `labels` are mids, display names
    or columns of data.label_list; `sound` is None where there is none, and `problem` says why it cannot be read."""

    place: str
    at: int
    name: str
    labels: tuple[str | int, ...]
    sound: bytes | None
    problem: str = ""


class Form(Protocol):
    """A file form: a module with these two functions is all that a new one takes, with its name in contained.FORMS.

    `first` and `last` count what the form likes best (rows, row groups). Both raise UserError, naming the file, where
    that is broken as a whole.
    """

    def pieces(self, path: Path, classes: int) -> list[tuple[int, int]]:
        """What the file is divided into, each of some blocks.ROWS recordings."""
        ...

    def read(self, path: Path, first: int, last: int) -> Iterator[Encoded]:
        """The recordings of a piece, one after another, of which one is held at a time."""
        ...
