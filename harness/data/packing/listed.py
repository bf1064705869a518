"""Featurizing of the kinds that list their clips (`folder`, `audioset`): in blocks, put together, never held whole."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from harness.base import paths
from harness.base.files import sha256_of, write_json
from harness.base.folders import whole_folder
from harness.config.params import Params
from harness.data.clips.encoded import SOURCES
from harness.data.clips.index import Index, IndexWriter
from harness.data.clips.labels import Label, write_labels
from harness.data.clips.manifest import COLUMNS, SPLITS, Attribution, Row, manifest_cells
from harness.data.clips.shards import GrowingArray, read_clip
from harness.data.packing import blocks
from harness.data.packing.coverage import Coverage
from harness.data.packing.fingerprints import FINGERPRINT, StoredFingerprints
from harness.data.packing.leakage import SplitClips, find_leakage, write_report
from harness.data.packing.quarantine import COLUMNS as LEFT_OUT
from harness.data.packing.quarantine import bad_clips, read_left_out, require_few


@dataclass(frozen=True)
class Plan:
    """What a kind gives: the classes, a task for every block, what gives each block's key without the task, the file
    that each block comes from, what to credit.

    For HDF5 files, whose rows are known only after the tasks: `revise` says what a row is after all and whether it is
    listed, and `absent` gives the listed clips that no row was, each with the file that lists it.
    """

    labels: Sequence[Label]
    tasks: Sequence[Callable[[], None]]
    keys: Sequence[Callable[[], str]]
    sources: Sequence[str]
    credit: Attribution | None  # of all clips; None: a line for each, from its row
    known: dict[str, bool] = field(default_factory=lambda: dict.fromkeys(SPLITS, True))
    revise: Callable[[Row], tuple[Row, bool]] = lambda row: (row, True)
    absent: Callable[[], Iterable[tuple[Row, str]]] = tuple
    reader: Callable[[Path, str], Callable[[int, int, int], np.ndarray]] = lambda folder, split: partial(
        read_clip, folder
    )  # of a split's clips, by file, offset and samples
    made_of: dict[str, Any] = field(default_factory=dict)  # each split's files that are read in place, for the reader
    keeps_paths: bool = False  # where sound files are read in place: their offset is a byte in a list of paths
    extra: dict[str, Any] = field(default_factory=dict)  # goes into the summary


def featurize_listed(
    plan: Plan, params: Params, head: dict[str, Any], work: Path, workers: int | None
) -> tuple[dict[str, Any], Coverage]:
    """Run the plan's tasks and fill paths.packed; its summary, which begins with `head`, and the coverage.

    What is finished stays in `work`, which the caller deletes when all is done. Raises UserError where something
    cannot be read or written, or too many clips are bad.
    """
    blocks.run_blocks(plan.tasks, workers)
    coverage = Coverage(plan.labels, plan.known, params.data.clip_seconds)
    with whole_folder(paths.packed(params.preset)) as folder:
        write_labels(folder / "labels.csv", plan.labels)
        digests = _put_together(plan, work, folder, coverage)
        leakage = find_leakage(_all_splits(plan, work, folder))
        statuses = coverage.statuses()
        require_few(params, statuses, read_left_out(folder / "missing.csv"))
        lines = [(sha256_of(folder / name), name) for name in ("manifest.csv", "labels.csv")] + digests
        digest = hashlib.sha256("".join(f"{value}  {name}\n" for value, name in lines).encode()).hexdigest()
        bad = {"classes": len(plan.labels), "bad": bad_clips(params.data.kind, statuses)}
        found = {"leakage": leakage.counts, "fingerprint": digest}
        rates = sum((blocks.finished_rates(work, number) for number in range(len(plan.tasks))), Counter[int]())
        rated = {"sampled_at": {str(rate): rates[rate] for rate in sorted(rates)}} if rates else {}
        summary = head | bad | coverage.summary() | rated | plan.extra | found
        write_json(folder / "summary.json", summary)
    write_report(paths.results(params.preset) / "leakage.csv", leakage)
    return summary, coverage


def _put_together(plan: Plan, work: Path, folder: Path, coverage: Coverage) -> list[tuple[str, str]]:
    """Manifest, index, attribution, missing.csv and shards, and in `work` the fingerprints of each split's clips; the
    digest and name of each block's sounds."""
    digests = []
    with (
        _table(folder / "manifest.csv", COLUMNS) as manifest,
        _table(folder / "missing.csv", LEFT_OUT) as missing,
        _table(folder / "ATTRIBUTION.csv", [each.name for each in dataclasses.fields(Attribution)]) as credits,
        IndexWriter(folder, len(plan.labels)) as index,
        ExitStack() as stack,
    ):
        arrays = {split: GrowingArray(_fingerprints_path(work, split), FINGERPRINT) for split in SPLITS}
        fingerprints = {split: stack.enter_context(closing(array)) for split, array in arrays.items()}

        paths_of = stack.enter_context(open(folder / SOURCES, "wb")) if plan.keeps_paths else None

        def add(row: Row, listed: bool, source: str) -> None:
            if paths_of and row.status == "ok":
                row = dataclasses.replace(row, offset=paths_of.tell())
                paths_of.write(f"{row.sha256} {row.source}\n".encode())
            manifest(manifest_cells(row))
            coverage.add(row, source, listed)
            if plan.credit is None:
                credits((row.id, row.source, row.labels, source, "", "", ""))
            if row.status == "ok":
                index.append(row.split, row.id, (row.shard, row.offset, row.samples), coverage.columns(row))
            else:
                missing([getattr(row, name) for name in LEFT_OUT])

        if plan.credit:
            credits(dataclasses.astuple(plan.credit))
        for number, source in enumerate(plan.sources):
            rows, digest = blocks.finished_block(work, number)
            marks, good = blocks.finished_fingerprints(work, number), 0
            for row in rows:
                mark, good = marks[good : good + 1], good + (row.status == "ok")
                row, listed = plan.revise(row)
                add(row, listed, source)
                if row.status == "ok":
                    fingerprints[row.split].append(mark)
            digests.append((digest, f"block-{number:05d}"))
            shard = blocks.shard_path(work, number)
            if shard.exists():
                _link(shard, folder / shard.name)
        for row, source in plan.absent():
            add(row, True, source)
    return digests


def _fingerprints_path(work: Path, split: str) -> Path:
    return work / f"fingerprints-{split}.npy"


def _all_splits(plan: Plan, work: Path, folder: Path) -> list[SplitClips]:
    """The good clips of each split, the smaller splits first."""
    return [
        _split_clips(
            Index(folder, split, len(plan.labels)),
            StoredFingerprints(_fingerprints_path(work, split)),
            plan.reader(folder, split),
        )
        for split in reversed(SPLITS)
    ]


def _split_clips(
    index: Index, fingerprints: StoredFingerprints, read: Callable[[int, int, int], np.ndarray]
) -> SplitClips:
    return SplitClips(index.split, fingerprints, lambda clip: index.ids[clip], lambda clip: read(*index.place(clip)))


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
