"""Parquet files with encoded sounds: `video_id`, `audio` {bytes, path}, `labels`, as on the Hugging Face Hub."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow
import pyarrow.parquet

from harness.base.errors import UserError, some
from harness.data.packing import blocks
from harness.data.sources.encoded import Encoded

COLUMNS = ("video_id", "audio", "labels")
READ_AT_A_TIME = 8  # rows: a recording of ten seconds is some 1 MB
BUFFER = 2**20  # bytes of a column that are read ahead


@contextmanager
def _opened(path: Path) -> Iterator[pyarrow.parquet.ParquetFile]:
    """The file, of which only what is asked for is read; pyarrow's errors become a UserError."""
    try:
        with pyarrow.parquet.ParquetFile(path, pre_buffer=False, buffer_size=BUFFER) as file:
            yield file
    except (OSError, pyarrow.ArrowException) as error:
        text = " ".join(str(error).split())[:200]
        raise UserError(f"{path}: cannot be read as parquet ({text}); give the whole file") from error


def pieces(path: Path, classes: int) -> list[tuple[int, int]]:
    """Row groups, which can only be read from their beginning, together until they are a block."""
    with _opened(path) as file:
        _require_columns(path, file.schema_arrow)
        if not file.metadata.num_rows:
            raise UserError(f"{path}: no row in it; give the whole file")
        found, first, rows = [], 0, 0
        for group in range(file.num_row_groups):
            more = file.metadata.row_group(group).num_rows
            if rows and rows + more > blocks.ROWS:
                found.append((first, group))
                first, rows = group, 0
            rows += more
        return [*found, (first, file.num_row_groups)]


def _require_columns(path: Path, schema: pyarrow.Schema) -> None:
    types = pyarrow.types
    for name in COLUMNS:
        if name not in schema.names:
            raise UserError(f"{path}: no column {name} (it has: {some(schema.names)}); it needs {', '.join(COLUMNS)}")
    audio, labels = schema.field("audio").type, schema.field("labels").type
    encoded = types.is_struct(audio) and audio.get_field_index("bytes") >= 0
    if not encoded or not (
        types.is_binary(audio.field("bytes").type) or types.is_large_binary(audio.field("bytes").type)
    ):
        raise UserError(f"{path}: column audio is {str(audio)[:100]}, must be a struct with encoded sound as `bytes`")
    if not (types.is_list(labels) or types.is_large_list(labels)):
        raise UserError(f"{path}: column labels is {str(labels)[:100]}, must be a list of mids, names or numbers")


def read(path: Path, first: int, last: int) -> Iterator[Encoded]:
    """Row group by row group, of which pyarrow holds about twice the size where its sounds are one page, as they
    mostly are; a few rows at a time of what it holds become Python's."""
    with _opened(path) as file:
        row = sum(file.metadata.row_group(group).num_rows for group in range(first))
        groups = range(first, last)
        for batch in file.iter_batches(READ_AT_A_TIME, groups, list(COLUMNS), use_threads=False):
            for cells in batch.to_pylist():
                sound = (cells["audio"] or {}).get("bytes")
                yield Encoded(str(row), row, str(cells["video_id"] or ""), tuple(cells["labels"] or ()), sound)
                row += 1
