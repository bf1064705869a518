"""Reads result files, of the working tree or of a commit, and says in one line what is wrong with one."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from harness.base.errors import UserError
from harness.records import schemas

RUN_AGAIN = "delete it and run its stage again"
T = TypeVar("T", bound=schemas.Result)


@dataclass(frozen=True)
class Files:
    """Result files by their path in the repository: `read` gives the content, None where there is no such file, and
    `below` all files in a folder, sorted."""

    read: Callable[[Path], bytes | None]
    below: Callable[[Path], list[Path]]

    def content(self, path: Path) -> bytes:
        """Raises UserError, naming the file, where it is missing."""
        content = self.read(path)
        if content is None:
            raise UserError(f"{path}: missing; run the stage that writes it (`dvc repro` runs all)")
        return content

    def mapping(self, path: Path) -> dict[str, Any]:
        """A JSON object. Raises UserError, naming the file, where it is missing or none."""
        content = self.content(path)
        try:
            value = json.loads(content)
        except ValueError as error:
            raise UserError(f"{path}: cannot be read as JSON ({error}); delete it and run its stage again") from error
        if not isinstance(value, dict):
            raise UserError(f"{path}: holds no mapping; delete it and run its stage again")
        return value

    def json(self, path: Path, schema: type[T]) -> T:
        """Raises UserError, naming file and key, where it is missing or does not fit."""
        return schemas.parse_result(str(path), self.mapping(path), schema)

    def record(self, path: Path) -> schemas.Record:
        """What made a result, of whatever kind."""
        content = self.mapping(path)
        return schemas.parse_result(str(path), content, schemas.RECORDS.get(str(content.get("kind")), schemas.Record))

    def csv(
        self, path: Path, columns: tuple[str, ...], text: tuple[str, ...] = (), remedy: str = RUN_AGAIN
    ) -> pd.DataFrame:
        """All columns of a CSV: `columns` are numbers but for those in `text`, others where they can be. Empty cells
        and `nan` are NaN; in text, empty cells are "".

        Raises UserError, naming file, column and line, where one of `columns` is missing or holds no number; `remedy`
        says what to do then.
        """
        content = self.content(path)
        try:
            frame = pd.read_csv(io.BytesIO(content), dtype=str, keep_default_na=False, encoding="utf-8")
        except (ValueError, UnicodeDecodeError) as error:  # pandas' parser errors are ValueErrors
            raise UserError(f"{path}: cannot be read as CSV ({error}); {remedy}") from error
        missing = next((name for name in columns if name not in frame), None)
        if missing:
            raise UserError(f"{path}: no column {missing!r}; {remedy}")
        for name in frame.columns.difference(list(text)):
            cells = frame[name].replace(["", "nan"], np.nan)
            numbers = pd.to_numeric(cells, errors="coerce")
            wrong = cells[numbers.isna() & cells.notna()]
            if wrong.empty:
                frame[name] = numbers
            elif name in columns:
                line = wrong.index[0] + 2  # the header is the first
                raise UserError(f"{path}: line {line}, column {name}: {wrong.iloc[0]!r} is no number; {remedy}")
        return frame


def _read_here(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); delete it and run its stage again") from error


def _below_here(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


WORKING_TREE = Files(_read_here, _below_here)
