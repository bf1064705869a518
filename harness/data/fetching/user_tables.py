"""Copies the tables that the user names into data/raw, and lists the files of sounds, which stay where they are."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.base import paths
from harness.base.errors import UserError
from harness.base.files import write_csv
from harness.base.names import spelled_out
from harness.config.params import Audioset, Data, Lists

ESC50 = "https://github.com/karolpiczak/ESC-50"
VOCABULARY = ("index", "display_name", "mid")  # the columns of FSD50K's vocabulary.csv, which has no header
BESIDE_FSD50K = ("eval.csv", "vocabulary.csv")  # the tables that lie beside its dev.csv


def fetch_tables(data: Data, folder: Path) -> None:
    """Copies of all tables that the user names. Raises UserError, naming key and file, where one cannot be read."""
    if data.kind == "audioset":
        fetch_audioset(data.audioset_files, folder)
    elif data.kind == "fsd50k":
        fetch_fsd50k(str(data.csv), folder)
    elif data.kind == "esc50":
        copy_table("data.csv", str(data.csv), folder / "esc50.csv", f"get it: git clone {ESC50} {data.base}")
    elif isinstance(data.csv, Lists):
        fetch_lists(data.csv, folder)
    else:
        copy_table("data.csv", str(data.csv), folder / "clips.csv")
    if data.is_listed and data.label_list not in ("used", "audioset"):
        copy_table("data.label_list", data.label_list, folder / "labels.csv")


def copy_table(key: str, source: str, target: Path, instead: str = "name an existing CSV") -> None:
    """Keep a table of the user's as `target`. Raises UserError, naming the key, where it cannot be read."""
    try:
        shutil.copyfile(source, target)
    except OSError as error:
        raise UserError(f"{key}: {source} cannot be read ({error.strerror}); {instead}") from error


def fetch_fsd50k(table: str, folder: Path) -> None:
    """FSD50K's dev.csv, eval.csv and vocabulary.csv as one table of path, labels and split, and a list of the classes.

    Raises UserError, naming the file, where one is missing or another than was published.
    """
    lines = [("path", "labels", "split")]
    for name, where in (("dev.csv", "dev"), ("eval.csv", "eval")):
        for row in _published(Path(table).with_name(name), ("fname", "mids")):
            split = row.get("split") or "test"  # eval.csv has no such column
            lines.append((f"FSD50K.{where}_audio/{row['fname']}.wav", row["mids"].replace(",", ";"), split))
    classes = _published(Path(table).with_name("vocabulary.csv"), VOCABULARY, VOCABULARY)
    write_csv(folder / "clips.csv", lines[0], lines[1:])
    write_csv(folder / "labels.csv", VOCABULARY, ([row[name] for name in VOCABULARY] for row in classes))


def _published(path: Path, needed: Sequence[str], header: Sequence[str] | None = None) -> list[dict[str, str]]:
    """The lines of a CSV; `header` where it has none."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file, header))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"data.csv: {path} cannot be read ({error}); unpack FSD50K.ground_truth.zip there") from error
    if not rows or any(row.get(name) is None for row in rows for name in needed):
        raise UserError(
            f"data.csv: {path} has not the columns {', '.join(needed)} of FSD50K as published; unpack it again"
        )
    return rows


def fetch_audioset(files: Audioset, folder: Path) -> None:
    """The segment CSVs into `folder`, and a list of the files that hold sounds, which stay where they are.

    Raises UserError, naming key and file, where one cannot be read.
    """
    for split, names in files.files("segments").items():
        key = f"data.audioset.{split}_segments"
        for number, path in enumerate(spelled_out(key, names)):
            copy_table(key, str(path), folder / paths.fetched_segments(split, number))
    write_csv(folder / "sounds.csv", ["split", "file", "bytes"], _sizes(files))


def fetch_lists(lists: Lists, folder: Path) -> None:
    """The lists into `folder`, with the file of labels that EAT's and Kaldi's have beside them.

    Raises UserError, naming key and file, where one cannot be read.
    """
    for split, names in lists.files().items():
        key = f"data.csv.{split}"
        for number, path in enumerate(spelled_out(key, names)):
            copy = folder / paths.fetched_list(split, number)
            copy_table(key, str(path), copy)
            if (labels := labels_beside(path)).exists():
                copy_table(key, str(labels), copy.with_suffix(".labels"))


def labels_beside(listing: Path) -> Path:
    """Where the labels of a list lie that has none itself: Kaldi's in `text`, EAT's in a file of its own name."""
    return listing.with_name("text") if listing.suffix == ".scp" else listing.with_suffix(".lbl")


def _sizes(files: Audioset) -> Iterator[tuple[str, str, int]]:
    """Split, name and size of the files that hold sounds; of a folder all that are below it."""
    for split, names in files.files("sounds").items():
        key = f"data.audioset.{split}"
        for path in spelled_out(key, names):
            try:
                inside = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
                for each in inside:
                    yield split, str(each), each.stat().st_size
            except OSError as error:
                raise UserError(f"{key}: {path} cannot be read ({error.strerror}); name an existing file") from error
