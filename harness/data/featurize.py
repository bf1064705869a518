"""Stage `featurize`: recordings -> manifest, packed shards, label list, attribution, summary."""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness import paths
from harness.data.building import whole_folder
from harness.data.esc10 import open_esc10
from harness.data.folder import open_folder
from harness.data.instruments import open_instruments
from harness.data.labels import Label, write_labels
from harness.data.manifest import SPLITS, STATUSES, Attribution, Row, Source, write_manifest
from harness.data.shards import RATE, ShardWriter
from harness.files import sha256_of, write_csv, write_json
from harness.params import Params

SCHEMA = 1


def featurize(params: Params) -> None:
    """Read paths.raw(params.data.kind), write paths.packed(params.preset) and data.json, print a summary.

    The folder is written beside its place and renamed at the end. Raises UserError where a source file is missing or
    broken, or no clip of a split is usable.
    """
    source = _source(params)
    with whole_folder(paths.packed(params.preset)) as folder:
        rows = []
        with ShardWriter(folder) as shards:
            for row, clip in source.clips:
                if clip is not None:
                    shard, offset = shards.append(clip)
                    row = dataclasses.replace(row, shard=shard, offset=offset, samples=len(clip))
                rows.append(row)
        write_manifest(folder / "manifest.csv", rows)
        write_labels(folder / "labels.csv", source.labels)
        header = [field.name for field in dataclasses.fields(Attribution)]
        write_csv(folder / "ATTRIBUTION.csv", header, map(dataclasses.astuple, source.attribution))
        summary = summarize(params, rows, source.labels, fingerprint(folder))
        write_json(folder / "summary.json", summary)
    write_json(paths.results(params.preset) / "data.json", summary)  # the same, small enough to be committed
    print_summary(summary)


def _source(params: Params) -> Source:
    raw = paths.raw(params.data.kind)
    if params.data.kind == "instruments":
        return open_instruments(raw)
    if params.data.kind == "esc10":
        return open_esc10(raw, params.data.test_fold)
    assert params.data.csv is not None  # checked when the parameters were read
    return open_folder(raw / "clips.csv", Path(params.data.csv).parent, params.data.label_list)


def fingerprint(folder: Path) -> str:
    """SHA-256 over the manifest, the label list and the shards, each by its own SHA-256 and name."""
    names = ["manifest.csv", "labels.csv", *sorted(path.name for path in folder.glob("shard-*.npy"))]
    lines = "".join(f"{sha256_of(folder / name)}  {name}\n" for name in names)
    return hashlib.sha256(lines.encode()).hexdigest()


def summarize(params: Params, rows: Sequence[Row], labels: Sequence[Label], digest: str) -> dict[str, Any]:
    """Clips and seconds packed, per split and class, and how many rows have each status."""
    good = [row for row in rows if row.status == "ok"]
    per_class: dict[str, dict[str, int]] = {label.name: dict.fromkeys(SPLITS, 0) for label in labels}
    names = {label.mid: label.name for label in labels}
    for row in good:
        for mid in row.labels.split(";"):
            if mid:
                per_class[names[mid]][row.split] += 1
    statuses = Counter(row.status for row in rows)
    return {
        "schema": SCHEMA,
        "preset": params.preset,
        "kind": params.data.kind,
        "classes": len(labels),
        "rows": len(rows),
        "statuses": {status: statuses[status] for status in STATUSES if statuses[status]},
        "clips": {split: sum(row.split == split for row in good) for split in SPLITS},
        "seconds": {split: round(sum(row.samples for row in good if row.split == split) / RATE, 3) for split in SPLITS},
        "clips_per_class": per_class,
        "fingerprint": digest,
    }


def print_summary(summary: dict[str, Any]) -> None:
    width = max(len(name) for name in [*summary["clips_per_class"], "seconds"])
    print(f"{'clips':{width}}" + "".join(f"{split:>8}" for split in SPLITS))
    for name, counts in summary["clips_per_class"].items():
        print(f"{name:{width}}" + "".join(f"{counts[split]:8d}" for split in SPLITS))
    print(f"{'all':{width}}" + "".join(f"{summary['clips'][split]:8d}" for split in SPLITS))
    print(f"{'seconds':{width}}" + "".join(f"{summary['seconds'][split]:8.0f}" for split in SPLITS))
    print("rows by status: " + ", ".join(f"{status} {count}" for status, count in summary["statuses"].items()))
