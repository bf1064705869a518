"""A user's own clips: a CSV with the columns path, labels, split."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from harness.base.errors import UserError
from harness.data.clips.labels import Label, audioset, by_mid, by_name, read_label_list
from harness.data.clips.manifest import SPLITS, Row, printable
from harness.data.packing import blocks
from harness.data.packing.listed import Plan
from harness.data.packing.pack import listed_key, pack_block

COLUMNS = ("path", "labels", "split")


def plan_folder(table: Path, base: Path, label_list: str, work: Path) -> Plan:
    """The clips that `table` lists, in blocks; their paths are relative to the folder `base`.

    `labels` are mids or display names of the classes, joined by `;`: those of AudioSet, or of the CSV label_list that
    `fetch` keeps beside `table` as labels.csv. A label that is none gives the clip the status `bad_label`. With
    label_list `used` the classes are what the table uses, in any words. Raises UserError, naming file and line, where a
    column is missing, a line has more values than columns, a split is none of train, val, test, or there is no line.
    """
    closed = closed_list(table.with_name("labels.csv"), label_list)
    return plan_rows(lambda: unrepeated(table_rows(table)), closed, (base,), label_list, work, table.name)


def plan_rows(
    rows: Callable[[], Iterator[Row]],
    closed: list[Label] | None,
    bases: Sequence[Path],
    label_list: str,
    work: Path,
    source: str,
) -> Plan:
    """The clips of `rows`, with labels as written, which are gone through twice; `source` is what lists them."""
    if closed is not None:
        labels = closed
    else:
        used = {name for row in rows() if row.status == "ok" for name in _names(row.labels)}
        labels = sorted({_audioset(name) for name in used}, key=lambda each: (each.index < 0, each.index, each.name))
    lookup = {label.name: label for label in labels} | {label.mid: label for label in labels}
    if closed is None:
        lookup |= {name: _audioset(name) for name in used}
    where = "no AudioSet mid or display name" if label_list == "audioset" else f"not in {label_list}"
    count = blocks.write_listing(work, 0, (_labelled(row, lookup, where) for row in rows()))
    tasks = [partial(pack_block, work, bases, number) for number in range(count)]
    keys = [partial(listed_key, work, bases, number) for number in range(count)]
    return Plan(labels, tasks, keys, [source] * count, None)


def closed_list(path: Path, label_list: str) -> list[Label] | None:
    """The classes where a list says which there are, of a user's own out of `path`."""
    if label_list == "used":
        return None
    return list(audioset()) if label_list == "audioset" else read_label_list(path, label_list)


def unrepeated(rows: Iterable[Row]) -> Iterator[Row]:
    """The rows, those of a file that came before as `duplicate`."""
    seen = set()
    for row in rows:
        same = os.path.normpath(row.id)  # ./a.wav is a.wav
        yield row if same not in seen else replace(row, status="duplicate", reason="listed before")
        seen.add(same)


def table_rows(table: Path) -> Iterator[Row]:
    """A row for every line, with the labels as written."""
    empty = True
    try:
        with open(table, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                columns = f"no column {', '.join(missing)}; the first line must be {','.join(COLUMNS)}"
                raise UserError(f"{table}: {columns}")
            for line in reader:
                where = f"{table}:{reader.line_num}"
                path, split = line["path"] or "", line["split"] or ""
                if None in line:
                    raise UserError(f"{where}: more values than columns; put a value with a comma in quotes")
                if split not in SPLITS:
                    raise UserError(f"{where}: split is {split!r}, must be one of {', '.join(SPLITS)}")
                empty = False
                yield row_of(path, split, line["labels"] or "")
        if empty:
            raise UserError(f"{table}: no clip in it; give one a line")
    except FileNotFoundError as error:
        raise UserError(f"{table}: missing; run `python -m harness fetch`") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{table}: cannot be read as CSV ({error}); save it as UTF-8 text with commas") from error


def row_of(path: str, split: str, labels: str) -> Row:
    """The row of a file, with its labels as written; both may be anything that a text can be."""
    row = Row(printable(path), split, printable(labels), printable(path))
    if not path:
        return replace(row, status="missing", reason="its path is empty")
    if row.source != path:
        return replace(row, status="missing", reason="its path has a control character")
    return row if row.labels == labels else replace(row, status="bad_label", reason="a label has a control character")


def _names(labels: str) -> list[str]:
    """The labels as written, each once."""
    return list(dict.fromkeys(name.strip() for name in labels.split(";") if name.strip()))


def _labelled(row: Row, lookup: Mapping[str, Label], where: str) -> Row:
    """The row with its labels as mids (a user's own class: its name), each once, or with the status `bad_label`."""
    names = _names(row.labels)
    unknown = next((name for name in names if name not in lookup), None)
    if names and unknown is None:
        return replace(row, labels=";".join(dict.fromkeys(lookup[name].mid for name in names)))
    if row.status != "ok":
        return row
    return replace(row, status="bad_label", reason=f"{unknown} is {where}" if names else "no label")


def _audioset(name: str) -> Label:
    return by_mid().get(name) or by_name().get(name) or Label(-1, name, name)
