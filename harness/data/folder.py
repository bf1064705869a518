"""A user's own clips: a CSV with the columns path, labels, split."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from harness.data.labels import Label, audioset, by_mid, by_name
from harness.data.manifest import SPLITS, Attribution, Row, Source
from harness.data.packing import pack
from harness.errors import UserError

COLUMNS = ("path", "labels", "split")


def open_folder(table: Path, base: Path, label_list: str) -> Source:
    """The clips that `table` lists; their paths are relative to the folder `base`.

    `labels` are mids or display names of AudioSet, or with label_list `used` any names, joined by `;`. A label that
    is not AudioSet's gives the clip the status `bad_label` where label_list is `audioset`. Raises UserError, naming
    file and line, where a column is missing or a split is none of train, val, test.
    """
    rows = [_labelled(row, label_list) for row in _rows(table)]
    if label_list == "audioset":
        labels = list(audioset())
    else:
        names = {name for row in rows if row.status == "ok" for name in row.labels.split(";")}
        labels = sorted((_label(name) for name in names), key=lambda label: (label.index < 0, label.index, label.name))
    credits = [Attribution(row.id, row.source, row.labels, table.name, "", "", "") for row in rows]
    return Source(labels, _clips(rows, base), credits)


def _rows(table: Path) -> Iterator[Row]:
    """A row for every line, with the labels as written."""
    seen = set()
    try:
        with open(table, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                columns = f"no column {', '.join(missing)}; the first line must be {','.join(COLUMNS)}"
                raise UserError(f"{table}: {columns}")
            for line in reader:
                path, split = line["path"] or "", line["split"] or ""
                if split not in SPLITS:
                    where = f"{table}:{reader.line_num}"
                    raise UserError(f"{where}: split is {split!r}, must be one of {', '.join(SPLITS)}")
                row = Row(path, split, line["labels"] or "", path)
                yield row if path not in seen else replace(row, status="duplicate", reason="listed before")
                seen.add(path)
    except FileNotFoundError as error:
        raise UserError(f"{table}: missing; run `python -m harness fetch`") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{table}: cannot be read as CSV ({error}); save it as UTF-8 text with commas") from error


def _labelled(row: Row, label_list: str) -> Row:
    """The row with its labels as mids (a user's own class: its name), each once, or with the status `bad_label`."""
    names = dict.fromkeys(name.strip() for name in row.labels.split(";") if name.strip())
    unknown = [name for name in names if _label(name).index < 0]
    if not names:
        return replace(row, status="bad_label", reason="no label")
    if unknown and label_list == "audioset":
        return replace(row, status="bad_label", reason=f"{unknown[0]} is no AudioSet mid or display name")
    return replace(row, labels=";".join(dict.fromkeys(_label(name).mid for name in names)))


def _label(name: str) -> Label:
    return by_mid().get(name) or by_name().get(name) or Label(-1, name, name)


def _clips(rows: list[Row], base: Path) -> Iterator[tuple[Row, np.ndarray | None]]:
    for row in tqdm(rows, desc="decode", unit="clip", disable=None):
        yield pack(row, base / row.source) if row.status == "ok" else (row, None)
