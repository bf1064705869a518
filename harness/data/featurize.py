"""Stage `featurize`: recordings -> manifest, packed shards, label list, attribution, summary."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.base import paths
from harness.base.files import read_json, remove_leftovers, sha256_of, write_csv, write_json
from harness.base.folders import whole_folder
from harness.base.lock import one_at_a_time
from harness.config.params import Lists, Params
from harness.data.clips.hdf5 import write_in_place
from harness.data.clips.labels import Label, write_labels
from harness.data.clips.manifest import (
    SPLITS,
    STATUSES,
    Attribution,
    Row,
    Source,
    read_manifest,
    write_manifest,
)
from harness.data.clips.shards import RATE, ShardWriter, read_clip
from harness.data.fetching.user_tables import fetch_tables
from harness.data.packing.blocks import WORK, work_folder
from harness.data.packing.coverage import Coverage, coverage_of
from harness.data.packing.fingerprints import clip_fingerprint
from harness.data.packing.leakage import SplitClips, find_leakage, leakage_warning, require_clean, write_report
from harness.data.packing.listed import Plan, featurize_listed
from harness.data.packing.quarantine import left_out_cells, read_left_out, require_few
from harness.data.packing.unchanged import is_unchanged, remember
from harness.data.sources.audioset import plan_audioset
from harness.data.sources.esc10 import open_esc10
from harness.data.sources.esc50 import open_esc50
from harness.data.sources.folder import plan_folder
from harness.data.sources.instruments import open_instruments
from harness.data.sources.lists import plan_lists
from harness.records.schemas import SCHEMA_VERSION, DataSummary, checked

USES = {
    "train": "without which no model trains",
    "val": "without which no model trains, as it keeps the epoch that does best on them",
    "test": "without which no model is scored",
}
WRITTEN = ("data.json", "coverage.csv", "leakage.csv")  # into paths.results


def featurize(params: Params, workers: int | None = None) -> None:
    """Read paths.raw(params.data.kind), write paths.packed(params.preset), data.json and coverage.csv, print a summary.

    The folder is written beside its place and renamed at the end. `folder` and `audioset` are worked on by `workers`
    processes (null: one a core), whose number changes no byte, and go on where they were interrupted. Where all is as
    it was when it was last finished, nothing is done. leakage.csv lists recordings that are in two splits.

    Raises UserError where a table or a source of many clips is missing or broken, too many clips are bad, another
    process featurizes this preset, or `instruments` or `esc10`, which promise clean splits, has a recording in two.
    """
    with one_at_a_time(WORK / f"{params.preset}.lock", f"featurize of preset {params.preset}"):
        results = paths.results(params.preset)
        for path in (
            WORK / f"{params.preset}.json",
            paths.in_place(params.preset),
            *(results / name for name in WRITTEN),
        ):
            remove_leftovers(path.parent, path.name)
        if params.data.is_brought:  # tables may have been mended since they were fetched
            with whole_folder(paths.raw(params.data.kind)) as folder:
                fetch_tables(params.data, folder)
        if params.data.is_listed:
            summary = _featurize_listed(params, workers)
        elif params.data.kind != "esc50" and is_unchanged(params, ()):  # whose sounds lie elsewhere: packed in seconds
            summary = _unchanged_whole(params)
        else:
            summary, coverage = _featurize_whole(params, _source(params))
            lengths = coverage.lengths() if params.data.has_folds else {}  # recordings of `instruments` are mixed
            _write_results(params, summary | lengths, coverage)
            remember(params, WORK, 0)
    print_summary(summary)


def _unchanged_whole(params: Params) -> dict[str, Any]:
    """The summary that is there, unless fewer bad clips are allowed now."""
    packed = paths.packed(params.preset)
    summary: dict[str, Any] = read_json(packed / "summary.json")
    left_out = (row for row in read_manifest(packed / "manifest.csv") if row.status != "ok")
    require_few(params, {"listed": summary["statuses"]}, left_out_cells(left_out))
    print(f"{packed}: is up to date")
    return summary


def _featurize_listed(params: Params, workers: int | None) -> dict[str, Any]:
    """Block after block, unless nothing has changed."""
    work = work_folder(params.preset)
    plan = _plan(params, work)
    packed = paths.packed(params.preset)
    if is_unchanged(params, plan.keys):
        summary = read_json(packed / "summary.json")
        require_few(params, summary["statuses_per_split"], read_left_out(packed / "missing.csv"))
        print(f"{packed}: is up to date")
    else:
        head = {"schema_version": SCHEMA_VERSION, "preset": params.preset, "kind": params.data.kind}
        summary, coverage = featurize_listed(plan, params, head, work, workers)
        _write_results(params, summary, coverage)
        remember(params, work, len(plan.tasks))
    write_in_place(paths.in_place(params.preset), plan.made_of)
    shutil.rmtree(work)
    return summary


def _write_results(params: Params, summary: dict[str, Any], coverage: Coverage) -> None:
    """The packed folder's summary.json, small enough to be committed, and the coverage of each class."""
    results = paths.results(params.preset)
    write_json(results / "data.json", checked(DataSummary, summary))
    coverage.write_per_class(results / "coverage.csv")


def _featurize_whole(params: Params, source: Source) -> tuple[dict[str, Any], Coverage]:
    """Clip after clip, with the manifest in memory: for the small sets."""
    with whole_folder(paths.packed(params.preset)) as folder:
        rows, fingerprints = [], []
        with ShardWriter(folder) as shards:
            for row, clip in source.clips:
                if clip is not None:
                    shard, offset = shards.append(clip)
                    row = dataclasses.replace(row, shard=shard, offset=offset, samples=len(clip))
                    fingerprints.append(clip_fingerprint(clip))
                rows.append(row)
        left_out = left_out_cells(row for row in rows if row.status != "ok")
        require_few(params, {"listed": Counter(row.status for row in rows)}, left_out)
        report = paths.results(params.preset) / "leakage.csv"
        leakage = find_leakage(_all_splits(folder, [row for row in rows if row.status == "ok"], np.array(fingerprints)))
        write_report(report, leakage)
        if params.data.kind != "esc50":  # which nobody has promised to be clean to the last clip
            require_clean(leakage, paths.raw(params.data.kind), report)
        write_manifest(folder / "manifest.csv", rows)
        write_labels(folder / "labels.csv", source.labels)
        header = [field.name for field in dataclasses.fields(Attribution)]
        write_csv(folder / "ATTRIBUTION.csv", header, map(dataclasses.astuple, source.attribution))
        summary = data_summary(params, rows, source.labels, fingerprint(folder))
        if params.data.kind == "esc50":
            summary["leakage"] = leakage.counts
        write_json(folder / "summary.json", summary)
    splits, kind = list(summary["clips"]), params.data.kind
    return summary, coverage_of(rows, source.labels, splits, kind, params.data.clip_seconds)


def _all_splits(folder: Path, rows: Sequence[Row], fingerprints: np.ndarray) -> list[SplitClips]:
    """The packed clips of each split or fold."""
    splits_clips = []
    for split in sorted({row.split for row in rows}):
        at = [index for index, row in enumerate(rows) if row.split == split]
        splits_clips.append(_split_clips(folder, split, [rows[index] for index in at], fingerprints[at]))
    return splits_clips


def _split_clips(folder: Path, split: str, rows: Sequence[Row], fingerprints: np.ndarray) -> SplitClips:
    def read(index: int) -> np.ndarray:
        row = rows[index]
        return read_clip(folder, row.shard, row.offset, row.samples)

    return SplitClips(split, fingerprints, lambda index: rows[index].id, read)


def _source(params: Params) -> Source:
    raw = paths.raw(params.data.kind)
    if params.data.kind == "esc50":
        return open_esc50(raw, params.data.base)
    return open_instruments(raw) if params.data.kind == "instruments" else open_esc10(raw)


def _plan(params: Params, work: Path) -> Plan:
    data, raw = params.data, paths.raw(params.data.kind)
    if data.kind == "audioset":
        return plan_audioset(data, raw, work)
    if isinstance(data.csv, Lists):
        return plan_lists(data.csv, raw, data.label_list, work)
    label_list = "FSD50K's vocabulary.csv" if data.kind == "fsd50k" else data.label_list
    return plan_folder(raw / "clips.csv", data.base, label_list, work)


def fingerprint(folder: Path) -> str:
    """SHA-256 over the manifest, the label list and the shards, each by its own SHA-256 and name."""
    names = ["manifest.csv", "labels.csv", *sorted(path.name for path in folder.glob("shard-*.npy"))]
    lines = "".join(f"{sha256_of(folder / name)}  {name}\n" for name in names)
    return hashlib.sha256(lines.encode()).hexdigest()


def data_summary(params: Params, rows: Sequence[Row], labels: Sequence[Label], digest: str) -> dict[str, Any]:
    """Clips and seconds packed, per split and class, and how many rows have each status."""
    good = [row for row in rows if row.status == "ok"]
    splits = sorted({row.split for row in good} - set(SPLITS)) or SPLITS  # folds, where the data set has them
    per_class: dict[str, dict[str, int]] = {label.name: dict.fromkeys(splits, 0) for label in labels}
    names = {label.mid: label.name for label in labels}
    for row in good:
        for mid in row.labels.split(";"):
            if mid:
                per_class[names[mid]][row.split] += 1
    statuses = Counter(row.status for row in rows)
    return {
        "schema_version": SCHEMA_VERSION,
        "preset": params.preset,
        "kind": params.data.kind,
        "classes": len(labels),
        "rows": len(rows),
        "statuses": {status: statuses[status] for status in STATUSES if statuses[status]},
        "clips": {split: sum(row.split == split for row in good) for split in splits},
        "seconds": {split: round(sum(row.samples for row in good if row.split == split) / RATE, 3) for split in splits},
        "clips_per_class": per_class,
        "fingerprint": digest,
    }


def print_summary(summary: dict[str, Any]) -> None:
    """A table of clips by class, where the summary has them, and the coverage."""
    per_class = summary.get("clips_per_class", {})
    width = max(len(name) for name in [*per_class, "seconds"])
    print(f"{'clips':{width}}" + "".join(f"{split:>8}" for split in summary["clips"]))
    for name, counts in per_class.items():
        print(f"{name:{width}}" + "".join(f"{counts[split]:8d}" for split in summary["clips"]))
    print(f"{'all':{width}}" + "".join(f"{summary['clips'][split]:8d}" for split in summary["clips"]))
    print(f"{'seconds':{width}}" + "".join(f"{summary['seconds'][split]:8.0f}" for split in summary["clips"]))
    print("rows by status: " + ", ".join(f"{status} {count}" for status, count in summary["statuses"].items()))
    if "lengths" in summary:
        lengths = summary["lengths"]
        padded, cut = (sum(lengths[what].values()) for what in ("padded", "cut"))
        print(f"{padded} clips are padded to {lengths['clip_seconds']:g} s when they are read, {cut} are cut")
    if low := {rate: count for rate, count in summary.get("sampled_at", {}).items() if int(rate) < RATE}:
        copies = ", ".join(f"{count} at {int(rate) / 1000:g} kHz" for rate, count in low.items())
        print(f"warning: {copies} are copies of a lower rate than {RATE // 1000} kHz, with nothing above half of it")
    for split, counts in summary.get("coverage", {}).items():
        if counts["listed"]:
            share = 100 * counts["ok"] / counts["listed"]
            print(f"{share:.1f}% of the {counts['listed']} listed {split} clips are there and good")
    for split in (split for split in SPLITS if summary["kind"] == "folder" and not summary["clips"][split]):
        print(f"warning: no usable {split} clip, {USES[split]}: mark lines of data.csv as {split}, or mend their clips")
    if found := leakage_warning(summary.get("leakage", {})):
        print(found)
