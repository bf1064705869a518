"""ESC-50 (Piczak, 2015), as its repository has it: 2,000 clips of 5 s, 50 classes, 5 folds; ESC-10 is part of it."""

from __future__ import annotations

import csv
from pathlib import Path

from harness.base.errors import UserError
from harness.data.clips.labels import Label
from harness.data.clips.manifest import Attribution, Row, Source, printable
from harness.data.clips.splits import FOLDS, fold_name
from harness.data.fetching.user_tables import ESC50
from harness.data.packing.pack import pack_each

CREDIT = Attribution(
    "all clips",
    "audio",
    "",
    "ESC-50's meta/esc50.csv",
    "K. J. Piczak; each recording is its uploader's, whom the repository's LICENSE names",
    "CC BY-NC",
    ESC50,
)


def open_esc50(raw: Path, base: Path) -> Source:
    """The clips that raw/esc50.csv lists, each in the split of its fold; the sounds lie in base/audio.

    Raises UserError, naming the line, where the table is another than was published.
    """
    table, rows, names = raw / "esc50.csv", [], dict[int, str]()
    try:
        with open(table, newline="", encoding="utf-8") as file:
            for line in csv.DictReader(file):
                fold, target, name = int(line["fold"]), int(line["target"]), line["category"].replace("_", " ")
                if not 1 <= fold <= FOLDS or names.setdefault(target, name) != name:
                    raise ValueError(f"fold {fold}, target {target}, category {name}")
                file_name = printable(line["filename"])
                rows.append(Row(file_name, fold_name(fold), name, f"audio/{file_name}"))
    except (OSError, KeyError, TypeError, AttributeError, ValueError, csv.Error) as error:
        raise UserError(f"{table}: is not ESC-50's meta/esc50.csv ({error}); get it again from {ESC50}") from error
    labels = [Label(-1, name, name) for _, name in sorted(names.items())]
    return Source(labels, pack_each(sorted(rows, key=lambda row: (row.split, row.id)), base), [CREDIT])
