"""Tar shards as WebDataset reads them: a sound and a .json, .txt or .cls with its labels beside each other."""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path

from harness.base.errors import UserError
from harness.data.sources.catalog import ENDINGS, ytid_of
from harness.data.sources.encoded import Encoded

KEYS = ("labels", "label", "tag", "tags")  # of a .json, the first that is there; its `text` holds captions
LABELS = ("json", "txt", "cls")
LARGEST = 2**30  # bytes of a member


@contextmanager
def _opened(path: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(path, "r:") as tar:
            yield tar
    except (tarfile.TarError, OSError) as error:
        raise UserError(f"{path}: cannot be read as a tar ({error}); give the whole file") from error


def pieces(path: Path, classes: int) -> list[tuple[int, int]]:
    """The whole tar: it has no table of contents, and is one of many."""
    with _opened(path):
        return [(0, 1)]


def read(path: Path, first: int, last: int) -> Iterator[Encoded]:
    """Sample after sample: files that follow each other with the same name but for its ending."""
    with _opened(path) as tar:
        files = (member for member in tar if member.isfile() and not os.path.basename(member.name).startswith("."))
        for key, members in groupby(files, lambda member: os.path.splitext(member.name)[0]):
            sound, at, labels, name, problem = None, -1, None, f"{path.stem}/{key}", ""
            for member in members:
                ending = os.path.splitext(member.name)[1].lower()[1:]
                if ending not in (*ENDINGS, *LABELS):
                    continue
                if member.size > LARGEST:
                    problem = f"{member.name} is larger than {LARGEST} bytes"
                    continue
                file = tar.extractfile(member)
                assert file is not None  # as it is a regular one
                content = file.read()
                if ending in ENDINGS:
                    sound, at = content, member.offset
                    name = os.path.basename(member.name) if ytid_of(os.path.basename(member.name)) else name
                else:
                    try:
                        labels = _labels(ending, content)
                    except ValueError as error:
                        problem = f"{member.name}: {error}"
            if sound is not None or labels is not None or problem:
                yield Encoded(key, at, name, labels or (), sound, problem)
        _require_end(path, tar.offset)


def _labels(ending: str, content: bytes) -> tuple[str | int, ...]:
    """Those of a .json, under one of KEYS, or of a text: one a line or between semicolons, mids between commas too.

    Raises ValueError where it has none.
    """
    text = content.decode("utf-8-sig")
    if ending == "json":
        found = json.loads(text)
        found = next((found[key] for key in KEYS if key in found), None) if isinstance(found, dict) else found
        if isinstance(found, list) and all(isinstance(each, str | int) for each in found):
            return tuple(found)
        if not isinstance(found, str | int):
            raise ValueError(f"has no {' or '.join(KEYS)}")
        text = str(found)
    for mark in ";\n" + ("," if text.lstrip().startswith("/") else ""):
        text = text.replace(mark, "\0")
    parts = [part.strip() for part in text.split("\0")]
    return tuple(int(part) if part.isdecimal() else part for part in parts if part)


def _require_end(path: Path, offset: int) -> None:
    """tarfile takes what is cut between two members, or follows the end mark, for the end. Raises UserError there."""
    with open(path, "rb") as file:
        file.seek(offset)
        rest = file.read(2**20)
        if len(rest) < tarfile.BLOCKSIZE or any(rest):
            raise UserError(f"{path}: cut short or damaged at byte {offset}; give the whole file")
