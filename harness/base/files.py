"""Writing files so that a reader sees the old content or the new, never half of it."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from harness.base.errors import UserError


def write_atomic(path: Path, write: Callable[[BinaryIO], object], make_folder: bool = True, writer: str = "") -> None:
    """Call `write` on a temporary file in `path`'s folder, fsync it, and rename it to `path`.

    The temporary file is called after the `writer`, by default this process. A `writer` is for a file that several
    machines write, where process numbers may be the same; what a killed one left, its next one overwrites.

    Raises UserError where the folder cannot be written or the disk is full; `path` is then as it was.
    """
    temporary = path.with_name(f".{path.name}.{writer or os.getpid()}.tmp")
    try:
        if make_folder:
            path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written ({error.strerror}): free space or fix its folder's rights"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path, name: str = "*") -> None:
    """Delete what `write_atomic` left in `folder` of files called `name` in a killed process; none may be writing."""
    for path in folder.glob(f".{name}.*.tmp"):
        path.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    write_atomic(path, lambda file: file.write(content))


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Indented JSON with a final newline; floats in full, keys in the order given; NaN is refused."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Raises UserError, naming the file, where it is missing or no JSON."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError as error:
        raise UserError(f"{path}: missing; run the stage that writes it (`dvc repro` runs all)") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as JSON ({error}); delete it and run its stage again") from error


def read_text(path: Path) -> str:
    """Raises UserError, naming the file, where it is missing or cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise UserError(f"{path}: missing; run the stage that writes it (`dvc repro` runs all)") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error}); delete it and run its stage again") from error


def write_csv(
    path: Path, header: Sequence[str], rows: Iterable[Sequence[Any] | Mapping[str, Any]], writer: str = ""
) -> None:
    """A CSV with `\\n` line ends; rows are sequences in the header's order, or mappings with its keys.

    `writer` is that of `write_atomic`.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(header)
    for row in rows:
        table.writerow([row[name] for name in header] if isinstance(row, Mapping) else row)
    write_atomic(path, lambda file: file.write(text.getvalue().encode()), writer=writer)


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file's content, read in pieces."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def state_of(path: Path) -> tuple[int, int, int] | None:
    """Size, time of the last change in ns, and inode, which another file in its place does not share; None: no file."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_size, found.st_mtime_ns, found.st_ino
