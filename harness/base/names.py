"""Files that a user names: `~` and patterns spelled out."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from pathlib import Path

from harness.base.errors import UserError


def spelled_out(key: str, names: Iterable[str]) -> tuple[Path, ...]:
    """The files and folders that `names` stand for: `~` is the home folder; `*`, `?`, `[]` and `**` as in a shell.

    Those of one pattern are sorted. Raises UserError, naming `key` and the name, where nothing is there.
    """
    found: list[Path] = []
    for name in names:
        path = Path(name).expanduser()
        fitting = [path] if os.path.lexists(path) else sorted(map(Path, glob.glob(str(path), recursive=True)))
        if not fitting:
            raise UserError(f"{key}: {name} is not there; name an existing file or folder, or a pattern that fits some")
        found += fitting
    return tuple(found)
