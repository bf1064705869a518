"""`python -m harness compare A B --html`: the comparison as a page, with the cells and figures that moved."""

from __future__ import annotations

import base64
import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass

from markdown_it import MarkdownIt

from harness.report.page.template import environment
from harness.revisions.revisions import Revision, read_files

TABLES = re.compile(r"paper_tables/[^/]+/(table1|parameters|per_seed|per_class)\.csv")
PICTURES = re.compile(r"results/[^/]+/figures/[^/]+\.png")
KEYS = {"per_seed": ("model", "seed"), "per_class": ("label",)}  # of the others: model
MOST_PICTURE_BYTES = 4_000_000  # of both commits together; what does not fit is named


@dataclass(frozen=True)
class Moved:
    """A cell whose text differs; `change` is B - A and `rose` its direction where both are numbers."""

    row: str
    column: str
    old: str
    new: str
    change: str
    rose: bool | None


@dataclass(frozen=True)
class MovedTable:
    """The cells that moved in a table, and how many did not; `only` is A or B where the other has no such table."""

    path: str
    cells: tuple[Moved, ...]
    same: int
    only: str


@dataclass(frozen=True)
class MovedPicture:
    """A figure that is not the same picture in both, as data URLs; None where it is not there, or has no room."""

    path: str
    old: str | None
    new: str | None
    left_out: bool


def revision_page(a: Revision, b: Revision, report: str) -> str:
    """One self-contained HTML page; `report` is the comparison in Markdown."""
    old, new = read_files(a, PICTURES), read_files(b, PICTURES)
    return (
        environment()
        .get_template("compare.html")
        .render(
            a=a,
            b=b,
            report=MarkdownIt("commonmark", {"html": False}).enable("table").render(report),
            tables=moved_tables(read_files(a, TABLES), read_files(b, TABLES)),
            pictures=list(_pictures(old, new)),
            same_pictures=sum(old[path] == new[path] for path in old.keys() & new.keys()),
        )
    )


def moved_tables(old: dict[str, bytes], new: dict[str, bytes]) -> list[MovedTable]:
    """What differs in CSVs by path, in the order of the paths; tables that are the same in both are there too."""
    found = []
    for path in sorted({*old, *new}):
        if path not in old or path not in new:
            found.append(MovedTable(path, (), 0, "A" if path in old else "B"))
            continue
        before, after = _cells(path, old[path]), _cells(path, new[path])
        both = {**before, **after}
        cells = [
            _moved(key, before.get(key, ""), after.get(key, "")) for key in both if before.get(key) != after.get(key)
        ]
        found.append(MovedTable(path, tuple(cells), len(both) - len(cells), ""))
    return found


def _cells(path: str, content: bytes) -> dict[tuple[str, str], str]:
    """Every cell by row, called by its key columns, and column."""
    key = KEYS.get(path.rpartition("/")[2].removesuffix(".csv"), ("model",))
    rows = csv.DictReader(content.decode(errors="replace").splitlines(), restval="")
    return {
        ("-".join(row.get(name) or "" for name in key), column): cell or ""
        for row in rows
        for column, cell in row.items()
        if column is not None
    }


def _moved(key: tuple[str, str], old: str, new: str) -> Moved:
    try:
        change = float(new) - float(old)
    except ValueError:
        return Moved(*key, old, new, "", None)
    return Moved(*key, f"{float(old):.6g}", f"{float(new):.6g}", f"{change:+.3g}", change > 0)


def _pictures(old: dict[str, bytes], new: dict[str, bytes]) -> Iterator[MovedPicture]:
    left = MOST_PICTURE_BYTES
    for path in sorted({*old, *new}):
        if old.get(path) == new.get(path):
            continue
        size = sum(len(some.get(path, b"")) for some in (old, new))
        fits = size <= left
        left -= size if fits else 0
        one, other = (_url(some.get(path)) if fits else None for some in (old, new))
        yield MovedPicture(path, one, other, not fits)


def _url(content: bytes | None) -> str | None:
    return None if content is None else f"data:image/png;base64,{base64.b64encode(content).decode()}"
