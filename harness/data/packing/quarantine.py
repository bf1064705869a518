"""Bad clips: which statuses count as bad, how many of a split's clips may be bad, and where they are then listed."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from harness.base import paths
from harness.base.errors import UserError
from harness.base.files import write_csv
from harness.config.params import Params
from harness.data.clips.manifest import STATUSES, Row

COLUMNS = ("id", "split", "status", "reason", "source")
NO_FAULT = {  # of each kind, the statuses of clips that are left out and not bad
    "instruments": ("duplicate", "short", "low_rate", "ambiguous"),  # by its own rules
    "esc10": (),
    "esc50": (),
    "fsd50k": (),
    "folder": (),
    "audioset": ("missing", "duplicate"),  # every copy lacks clips, which its coverage says; files overlap
}


def is_bad(kind: str, status: str) -> bool:
    return status != "ok" and status not in NO_FAULT[kind]


def bad_clips(kind: str, statuses: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """How many of each split's clips are bad, from the counts of its statuses."""
    return {
        split: sum(count for status, count in counts.items() if is_bad(kind, status))
        for split, counts in statuses.items()
    }


def list_path(preset: str) -> Path:
    """Beside the folder of packed clips, which is not written where too many are bad."""
    return paths.packed(preset).with_name(f"{preset}.bad_clips.csv")


def left_out_cells(rows: Iterable[Row]) -> Iterator[dict[str, str]]:
    return ({name: getattr(row, name) for name in COLUMNS} for row in rows)


def read_left_out(path: Path) -> Iterator[dict[str, str]]:
    """The lines of a missing.csv: all clips whose status is not `ok`."""
    with open(path, newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)


def require_few(
    params: Params, statuses: Mapping[str, Mapping[str, int]], left_out: Iterable[Mapping[str, str]]
) -> None:
    """Raises UserError where of a split's clips more than params.data.max_bad_fraction are bad.

    The share is of the clips that are good or bad; one may be bad in a split of any size, unless the share is 0.
    `left_out` has the columns COLUMNS; the bad ones of all splits are then written to list_path(params.preset).
    """
    kind, most, path = params.data.kind, params.data.max_bad_fraction, list_path(params.preset)
    bad = bad_clips(kind, statuses)
    there = {split: bad[split] + counts.get("ok", 0) for split, counts in statuses.items()}
    too_many = [split for split in statuses if bad[split] > (max(1, most * there[split]) if most else 0)]
    if not too_many:
        path.unlink(missing_ok=True)
        return
    write_csv(path, COLUMNS, (line for line in left_out if is_bad(kind, line["status"])))
    total: Counter[str] = sum((Counter(statuses[split]) for split in too_many), Counter())
    found = ", ".join(f"{status} {total[status]}" for status in STATUSES if total[status] and is_bad(kind, status))
    shares = ", ".join(f"{bad[split]} of {there[split]} {split} clips" for split in too_many)
    start = f"; paths start at {params.data.base}/" if isinstance(params.data.csv, str) and total["missing"] else ""
    raise UserError(
        f"data.max_bad_fraction: is {most:g}, but {shares} are bad ({found}{start}); all bad clips are listed in "
        f"{path}: mend or remove them, or allow more"
    )
