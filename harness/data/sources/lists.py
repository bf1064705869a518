"""Lists that other trainers read, which name files and labels: AST's JSON, EAT's and CED's tsv, Kaldi's wav.scp."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TextIO

from harness.base import paths
from harness.base.errors import UserError
from harness.base.names import spelled_out
from harness.config.params import Lists
from harness.data.clips.labels import Label
from harness.data.clips.manifest import Row
from harness.data.clips.splits import is_held_out
from harness.data.fetching.user_tables import labels_beside
from harness.data.packing.listed import Plan
from harness.data.sources.folder import closed_list, plan_rows, row_of, unrepeated

KINDS = "AST's JSON, EAT's .tsv (its .lbl beside it), CED's .tsv or Kaldi's wav.scp (with text beside it)"
Entry = tuple[str, Sequence[str]]  # a file's path and its labels, as they are written


def plan_lists(lists: Lists, raw: Path, label_list: str, work: Path) -> Plan:
    """The clips that `lists` name, of which `fetch` keeps copies in `raw`.

    A path is relative to its list's folder, or else to the nearest one above that has it. Raises UserError, naming list
    and line, where one is of no kind that is known, or broken.
    """
    closed = closed_list(raw / "labels.csv", label_list)
    rows, bases = list_rows(lists, raw, closed)
    return plan_rows(lambda: unrepeated(rows()), closed, bases, label_list, work, "the lists")


def list_rows(
    lists: Lists, raw: Path, closed: Sequence[Label] | None
) -> tuple[Callable[[], Iterator[Row]], tuple[Path, ...]]:
    """What gives the rows of all lists, and the folders that their paths may start from."""
    named = {split: spelled_out(f"data.csv.{split}", names) for split, names in lists.files().items()}
    every = [path.absolute().parent for found in named.values() for path in found]
    bases = tuple(dict.fromkeys(base for folder in every for base in (folder, *folder.parents)))

    def rows() -> Iterator[Row]:
        for split in ("test", "val", "train"):  # of a file that is listed twice the first stays
            for number, path in enumerate(named[split]):
                for file, labels in _entries(raw / paths.fetched_list(split, number), str(path), closed):
                    held_out = split == "train" and is_held_out(file, lists.held_out_fraction)
                    row = row_of(file, "val" if held_out else split, ";".join(labels))
                    yield replace(row, status="bad_label", reason="no label") if not labels else row

    return rows, bases


def _entries(copy: Path, name: str, closed: Sequence[Label] | None) -> Iterator[Entry]:
    """Of the list `name`, out of its copy, whose labels' copy, if they are a file of their own, is beside it."""
    labels = copy.with_suffix(".labels")
    empty = True
    with _opened(copy, name) as file:
        first = file.readline()
        file.seek(0)
        if first.lstrip()[:1] in ("{", "["):
            found = _ast(file, name)
        elif first.split("\t")[0].strip() == "filename":
            found = _ced(file, name, closed)
        elif name.endswith(".scp"):
            found = _with_labels(_kaldi(file, name), labels, name, " ")
        elif "\t" not in first and first.strip():
            found = _with_labels(_eat(file, name), labels, name, ",")
        else:
            raise UserError(f"{name}: is no list that is known; give {KINDS}")
        for entry in found:
            empty = False
            yield entry
    if empty:
        raise UserError(f"{name}: no file in it; give one a line")


@contextmanager
def _opened(path: Path, name: str) -> Iterator[TextIO]:
    try:
        with open(path, encoding="utf-8-sig") as file:
            yield file
    except FileNotFoundError as error:
        raise UserError(f"{name}: missing; run `python -m harness fetch`") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{name}: cannot be read ({error}); save it as UTF-8 text") from error


def _ast(file: TextIO, name: str) -> Iterator[Entry]:
    """{"data": [{"wav": PATH, "labels": "MID,MID"}, ...]}, decoded entry by entry, as two million are 400 MB."""
    decoder, text, number = json.JSONDecoder(), "", 0
    while "[" not in text and (more := file.read(2**16)):
        text += more
    text = text.partition("[")[2]
    while True:
        text = text.lstrip(" \t\r\n,")
        if text.startswith("]"):
            return
        try:
            entry, end = decoder.raw_decode(text)
        except ValueError as error:
            more = file.read(2**16)
            if not more:
                raise UserError(f"{name}: entry {number + 1} is no JSON ({error}); give {KINDS}") from error
            text += more
            continue
        number, text = number + 1, text[end:]
        if not isinstance(entry, dict) or not all(isinstance(entry.get(key), str) for key in ("wav", "labels")):
            raise UserError(f'{name}: entry {number} must have "wav" and "labels", a path and mids with commas')
        yield entry["wav"], [label.strip() for label in entry["labels"].split(",") if label.strip()]


def _ced(file: TextIO, name: str, closed: Sequence[Label] | None) -> Iterator[Entry]:
    """filename, labels (columns with semicolons), and perhaps hdf5path."""
    header = file.readline().rstrip("\n").split("\t")
    if "labels" not in header:
        raise UserError(f"{name}: no column labels; its first line must be filename, labels, with a tab between")
    if closed is None:
        raise UserError(f"{name}: its labels are numbers of columns; say whose by data.label_list: audioset or a .csv")
    at = header.index("labels")
    for number, line in enumerate(file, 2):
        cells = line.rstrip("\n").split("\t")
        try:
            columns = [int(cell) for cell in cells[at].split(";") if cell.strip()]
            if min(columns, default=0) < 0:
                raise IndexError
            yield cells[0], [closed[column].mid for column in columns]
        except (IndexError, ValueError) as error:
            rule = f"a path, a tab and numbers of columns (0 to {len(closed) - 1}) with semicolons"
            raise UserError(f"{name}:{number}: is {line.strip()[:80]!r}, must be {rule}") from error


def _eat(file: TextIO, name: str) -> Iterator[tuple[str, str]]:
    """The folder of all files, then a line for each: its path below that, a tab, the number of samples."""
    root = Path(file.readline().strip())
    for number, line in enumerate(file, 2):
        path, tab, _ = line.partition("\t")
        if not tab:
            raise UserError(f"{name}:{number}: is {line.strip()[:80]!r}, must be a path, a tab and a number of samples")
        yield str(root / path), ""


def _kaldi(file: TextIO, name: str) -> Iterator[tuple[str, str]]:
    """An id, a space and a path; what follows the id may be a command too, which is not run."""
    for number, line in enumerate(file, 1):
        key, _, path = line.strip().partition(" ")
        if not path.strip() or path.endswith("|"):
            rule = "must be an id and a path; commands are not run: write their sounds to files"
            raise UserError(f"{name}:{number}: is {line.strip()[:80]!r}, {rule}")
        yield path.strip(), key


def _with_labels(files: Iterator[tuple[str, str]], copy: Path, name: str, mark: str) -> Iterator[Entry]:
    """Files and ids with the labels in a file of its own: a line for each, an id, then labels with `mark` between."""
    other = labels_beside(Path(name))
    if not copy.exists():
        raise UserError(f"{name}: no {other.name} beside it; its labels must stand there")
    with _opened(copy, str(other)) as lines:
        for number, (path, key) in enumerate(files, 1):
            own, _, labels = lines.readline().strip().replace("\t", " ").partition(" ")
            if not own or key not in ("", own):
                want = f"the labels of {key or path}"
                raise UserError(f"{other}:{number}: is {own!r}, must be {want}, in the order of {Path(name).name}")
            yield path, [label.strip() for label in labels.split(mark) if label.strip()]
        if rest := lines.readline().strip():
            raise UserError(f"{other}: has more lines than {Path(name).name}, such as {rest[:80]!r}")
