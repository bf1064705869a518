"""Featurizing of the kinds that list their clips (`folder`, `audioset`): in blocks, put together, never held whole."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.data import blocks
from harness.data.building import whole_folder
from harness.data.coverage import Coverage
from harness.data.index import IndexWriter
from harness.data.labels import Label, write_labels
from harness.data.manifest import COLUMNS, SPLITS, Attribution, Row, cells_of
from harness.files import sha256_of, write_json

MISSING = ("id", "split", "status", "reason", "source")


@dataclass(frozen=True)
class Plan:
    """What a kind gives: the classes, a task for every block, the file that each block comes from, what to credit.

    For HDF5 files, whose rows are known only after the tasks: `revise` says what a row is after all and whether it is
    listed, and `absent` gives the listed clips that no row was, each with the file that lists it.
    """

    labels: Sequence[Label]
    tasks: Sequence[Callable[[], None]]
    sources: Sequence[str]
    credit: Attribution | None  # of all clips; None: a line for each, from its row
    known: dict[str, bool] = field(default_factory=lambda: dict.fromkeys(SPLITS, True))
    revise: Callable[[Row], tuple[Row, bool]] = lambda row: (row, True)
    absent: Callable[[], Iterable[tuple[Row, str]]] = tuple
    extra: dict[str, Any] = field(default_factory=dict)  # goes into the summary


def featurize_listed(
    plan: Plan, head: dict[str, Any], work: Path, target: Path, workers: int | None
) -> tuple[dict[str, Any], Coverage]:
    """Run the plan's tasks and fill the folder `target`; its summary, which begins with `head`, and the coverage.

    What is finished stays in `work`, which the caller deletes when all is done. Raises UserError where something
    cannot be read or written.
    """
    blocks.run_blocks(plan.tasks, workers)
    coverage = Coverage(plan.labels, plan.known)
    with whole_folder(target) as folder:
        write_labels(folder / "labels.csv", plan.labels)
        digests = _put_together(plan, work, folder, coverage)
        lines = [(sha256_of(folder / name), name) for name in ("manifest.csv", "labels.csv")] + digests
        digest = hashlib.sha256("".join(f"{value}  {name}\n" for value, name in lines).encode()).hexdigest()
        summary = head | {"classes": len(plan.labels)} | coverage.summary() | plan.extra | {"fingerprint": digest}
        write_json(folder / "summary.json", summary)
    return summary, coverage


def _put_together(plan: Plan, work: Path, folder: Path, coverage: Coverage) -> list[tuple[str, str]]:
    """Manifest, index, attribution, missing.csv and shards; the digest and name of each block's sounds."""
    digests = []
    with (
        _table(folder / "manifest.csv", COLUMNS) as manifest,
        _table(folder / "missing.csv", MISSING) as missing,
        _table(folder / "ATTRIBUTION.csv", [each.name for each in dataclasses.fields(Attribution)]) as credits,
        IndexWriter(folder, len(plan.labels)) as index,
    ):

        def add(row: Row, listed: bool, source: str) -> None:
            manifest(cells_of(row))
            coverage.add(row, source, listed)
            if plan.credit is None:
                credits((row.id, row.source, row.labels, source, "", "", ""))
            if row.status == "ok":
                index.append(row.split, row.id, (row.shard, row.offset, row.samples), coverage.columns(row))
            else:
                missing([getattr(row, name) for name in MISSING])

        if plan.credit:
            credits(dataclasses.astuple(plan.credit))
        for number, source in enumerate(plan.sources):
            rows, digest = blocks.finished_block(work, number)
            for row in rows:
                add(*plan.revise(row), source)
            digests.append((digest, f"block-{number:05d}"))
            shard = blocks.shard_path(work, number)
            if shard.exists():
                _link(shard, folder / shard.name)
        for row, source in plan.absent():
            add(row, True, source)
    return digests


@contextmanager
def _table(path: Path, header: Iterable[str]) -> Iterator[Callable[[Iterable[Any]], Any]]:
    """A CSV written line by line."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        yield writer.writerow


def _link(source: Path, target: Path) -> None:
    """The file under a second name, or a copy where the disk knows no such thing: `source` stays until all is done."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
