"""summary.md: how each part ended, its figures, and the goals. Standard library only."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def write_summary(outcomes: Iterable[Any], out: Path) -> str:
    """Write it, and return it. `outcomes` are those of the parts (__main__.Outcome)."""
    text = "\n".join([*lines(list(outcomes), out)])
    (out / "summary.md").write_text(text + "\n")
    return text


def lines(outcomes: list[Any], out: Path) -> Iterable[str]:
    yield "# GPU check"
    yield ""
    yield "| part | | seconds | |"
    yield "|---|---|---:|---|"
    for one in outcomes:
        yield f"| {one.part.name} | {one.status} | {one.seconds:.0f} | {cell(one.reason or one.part.words)} |"
    found = read_found(out)
    for one in outcomes:
        if figures := found.get(one.part.name, {}).get("figures"):
            yield f"\n## {one.part.name}: {one.part.words}\n"
            yield from (f"- {figure}" for figure in figures)
    yield "\n## Goals\n"
    try:
        from benchmarks.gpu_check import goals

        yield goals.table(list(goals.verdicts(out)))
    except Exception as error:  # the rest of the summary is worth more than this table
        yield f"could not be judged: {type(error).__name__}: {error}"


def cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "/")[:300]


def read_found(out: Path) -> dict[str, Any]:
    try:
        return json.loads((out / "found.json").read_text())
    except (OSError, ValueError):
        return {}
