"""How many of the clips that a data set lists are there, and what became of the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.base.files import write_csv
from harness.data.clips.labels import Label
from harness.data.clips.manifest import STATUSES, Row
from harness.data.clips.shards import RATE

HOP = RATE // 100  # samples, of the spectrogram; encoders add or drop less
MOST_CLASSES = 50  # in the summary, which is a metric of DVC's: of more, only the CSV has the counts


class Coverage:
    """Counts of rows, added one by one; `known` says for which splits the number of listed clips is known, and
    `seconds` what clips are padded or cut to when they are read."""

    def __init__(self, labels: Sequence[Label], known: Mapping[str, bool], seconds: float) -> None:
        self._labels, self._known = labels, dict(known)
        self._columns = {label.mid: column for column, label in enumerate(labels)}
        self._statuses: dict[str, Counter[str]] = {split: Counter() for split in known}
        self._sources: dict[str, Counter[str]] = {}
        self._samples: Counter[str] = Counter()
        self._seconds, self._padded, self._cut = seconds, Counter[str](), Counter[str]()
        self._listed: Counter[str] = Counter()
        self._listed_ok: Counter[str] = Counter()
        self._per_class = {split: np.zeros((3, len(labels)), np.int64) for split in known}  # listed, of them ok, all ok

    def columns(self, row: Row) -> list[int]:
        """The columns of the row's labels; a label that is no class has none."""
        return [self._columns[mid] for mid in row.labels.split(";") if mid in self._columns]

    def add(self, row: Row, source: str, listed: bool = True) -> None:
        """`source` is the file that the row comes from."""
        ok, columns = row.status == "ok", self.columns(row)
        self._statuses[row.split][row.status] += 1
        self._sources.setdefault(source, Counter())[row.status] += 1
        self._listed[row.split] += listed
        self._listed_ok[row.split] += listed and ok
        if ok:
            self._samples[row.split] += row.samples
            longer = row.samples - round(self._seconds * RATE)
            self._padded[row.split] += longer < -HOP
            self._cut[row.split] += longer > HOP
        self._per_class[row.split][:, columns] += np.array([[listed], [listed and ok], [ok]])

    def statuses(self) -> dict[str, dict[str, int]]:
        """Of each split how many rows have each status."""
        return {split: _in_order(counts) for split, counts in self._statuses.items()}

    def summary(self) -> dict[str, Any]:
        """Rows and seconds, by split, status, class and source; `coverage` is of the listed clips alone."""
        total = sum(self._statuses.values(), Counter())
        return {
            "rows": total.total(),
            "statuses": _in_order(total),
            "statuses_per_split": self.statuses(),
            "statuses_per_source": {source: _in_order(counts) for source, counts in self._sources.items()},
            "clips": {split: counts["ok"] for split, counts in self._statuses.items()},
            "seconds": {split: round(self._samples[split] / RATE, 3) for split in self._known},
            "coverage": {
                split: {
                    "listed": self._listed[split] if known else None,
                    "ok": self._listed_ok[split] if known else self._statuses[split]["ok"],
                }
                for split, known in self._known.items()
            },
            **self.lengths(),
        } | ({"clips_per_class": self._clips_per_class()} if len(self._labels) <= MOST_CLASSES else {})

    def lengths(self) -> dict[str, Any]:
        """How many good clips are shorter and longer, by more than a hop, than what they are padded or cut to."""
        padded, cut = ({split: counts[split] for split in self._known} for counts in (self._padded, self._cut))
        return {"lengths": {"clip_seconds": self._seconds, "padded": padded, "cut": cut}}

    def _clips_per_class(self) -> dict[str, dict[str, int]]:
        return {
            label.name: {split: int(counts[2, column]) for split, counts in self._per_class.items()}
            for column, label in enumerate(self._labels)
        }

    def write_per_class(self, path: Path) -> None:
        """For every class and split the clips listed (empty where unknown) and those that are there and good."""
        header = ["mid", "display_name", *(f"{split}_{what}" for split in self._known for what in ("listed", "ok"))]
        write_csv(path, header, (self._line(column, label) for column, label in enumerate(self._labels)))

    def _line(self, column: int, label: Label) -> list[Any]:
        cells: list[Any] = [label.mid, label.name]
        for split, known in self._known.items():
            listed, listed_ok, ok = self._per_class[split][:, column]
            cells += [listed, listed_ok] if known else ["", ok]
        return cells


def coverage_of(
    rows: Iterable[Row], labels: Sequence[Label], splits: Sequence[str], source: str, seconds: float
) -> Coverage:
    """That of rows which are at hand; rows of no split are left out."""
    found = Coverage(labels, dict.fromkeys(splits, True), seconds)
    for row in rows:
        if row.split in splits:
            found.add(row, source)
    return found


def _in_order(counts: Counter[str]) -> dict[str, int]:
    return {status: counts[status] for status in STATUSES if counts[status]}
