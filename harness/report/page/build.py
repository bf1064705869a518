"""results/PRESET/index.html, rendered from the template beside this file; nothing in it is fetched from elsewhere."""

from __future__ import annotations

import base64
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.base import paths
from harness.base.errors import UserError
from harness.base.files import read_json, write_text
from harness.config.params import Params
from harness.report.load import Results, load_results, table_folder
from harness.report.made_by import made_by
from harness.report.page.classes import class_table
from harness.report.page.clips import example_clips
from harness.report.page.moving import moving_positions
from harness.report.page.sortable import sortable
from harness.report.page.template import environment
from harness.report.tables import report_tables
from harness.report.verdict import CANNOT, DOES_NOT, SUPPORTS, Claim, verdict

MOST_BYTES = 5_000_000
MOST_FIGURE_BYTES = 3_500_000  # of all figures as text; those that do not fit are named
TYPES = {".svg": "image/svg+xml", ".png": "image/png"}
LINK = re.compile(r"\[([^\]]*)\]\(([^)]*)\)")  # as Markdown has it: the captions are also those of report.md
MARKS = {SUPPORTS: "yes", DOES_NOT: "no", CANNOT: "open"}


@dataclass(frozen=True)
class Figure:
    """A picture as a data URL; None where the page has no room for it."""

    name: str
    heading: str
    caption: str
    source: str | None


def page(params: Params) -> None:
    """Write results/PRESET/index.html.

    Raises UserError where a result file or a figure is missing, or where the page would be larger than 5 MB.
    """
    results = load_results(params)
    text = environment().get_template("index.html").render(_content(results))
    target = paths.results(params.preset) / "index.html"
    size = len(text.encode())
    if size > MOST_BYTES:
        raise UserError(f"{target}: would have {size:,} bytes, over {MOST_BYTES:,}; report fewer seeds or classes")
    write_text(target, text)
    print(f"{target}: {size / 1e6:.1f} MB")


def _content(results: Results) -> dict[str, Any]:
    by, claims = made_by(results), verdict(results)
    tables = [table for table in report_tables(results, by) if table.name != "per_class"]
    return {
        "preset": results.preset,
        "line": by.line,
        "headline": headline(claims),
        "claims": [(claim, MARKS[claim.outcome]) for claim in claims],
        "warnings": by.warnings,
        "disagreements": by.disagreements,
        "tables": [(table, [sortable(grid) for grid in table.grids]) for table in tables],
        "classes": class_table(results, by),
        "figures": figures_of(results),
        "positions": moving_positions(results),
        "clips": example_clips(results),
        "facts": by.facts,
        "records": _records(results),
        "table_folder": str(table_folder(results.preset)),
    }


def headline(claims: tuple[Claim, ...]) -> str:
    """The verdict in one sentence."""
    counts = Counter(claim.outcome for claim in claims)
    said = [f"{outcome} {counts[outcome]}" for outcome in (SUPPORTS, DOES_NOT, CANNOT) if counts[outcome]]
    return f"Of the paper's {len(claims)} claims this run {_joined(said)}."


def figures_of(results: Results) -> list[Figure]:
    """What the figures stage drew, in its order; of each the smaller of its two files.

    Raises UserError, naming the file, where one is missing.
    """
    folder = paths.results(results.preset) / "figures"
    found, left = [], MOST_FIGURE_BYTES
    for one in read_json(folder / "figures.json"):
        source = _data_url(folder, one["name"])
        fits = len(source) <= left
        left -= len(source) if fits else 0
        caption = LINK.sub(r"\1: \2", one["caption"])
        found.append(Figure(one["name"], one["heading"], caption, source if fits else None))
    return found


def _data_url(folder: Path, name: str) -> str:
    contents = {}
    for suffix in TYPES:
        path = folder / f"{name}{suffix}"
        try:
            contents[suffix] = path.read_bytes()
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror}); run `figures` again") from error
    suffix = min(contents, key=lambda one: len(contents[one]))
    return f"data:{TYPES[suffix]};base64,{base64.b64encode(contents[suffix]).decode()}"


def _records(results: Results) -> list[tuple[str, ...]]:
    """A line a result file: which code, library, device and moment made it."""
    return [
        (
            name,
            str(record["code"]["revision"] or "not from Git")[:10] + (" + changes" if record["code"]["dirty"] else ""),
            str(record["versions"].get("torch")),
            str(record["device"]),
            str(record.get("finished", "not recorded")),
        )
        for name, record in (*results.records(), *results.timing_records())
    ]


def _joined(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
