"""The DataFrames of the result files are as docs/recorded.md describes them."""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path

import pandas as pd
import pytest

from harness.config.params import Params
from harness.report.frames import Frames, load_frames
from harness.throughput import rows
from tests.conftest import ROOT

IN_EVERY_FRAME = {"model", "backbone", "method", "source"}
TIMED = {name: {"model", "method"} for name in ("timings", "sweep", "breakdown")}  # of an architecture
LACKING = {"runs": {"source"}, "references": {"model", "backbone", "method"}, **TIMED}
OF_ANOTHER = {  # rows of another frame, which the document does not list again
    "first_runs": "runs",
    "tested": "runs",
    "points": "comparisons",
    "to_baselines": "comparisons",
}
DOCUMENT = ROOT / "docs" / "recorded.md"


def _described() -> tuple[dict[str, set[str]], set[str]]:
    """Columns by frame, and the columns whose meaning is told; both without those in every frame."""
    text = DOCUMENT.read_text().split("## As DataFrames")[1]
    frames, meanings = (
        re.findall(r"^\| (`.*?) \|$", table, re.MULTILINE) for table in text.split("| column | meaning")
    )
    columns: dict[str, set[str]] = {}
    for line in frames:
        name, _, listed = line.split(" | ")
        columns[name.strip("`")] = set(re.findall(r"`(\w+)`", listed))
    for name in ("shown_timings", "sweep"):
        assert columns[name] == {"timings"}
        columns[name] = columns["timings"]
    return columns, {name for line in meanings for name in re.findall(r"`(\w+)`", line.split(" | ")[0])}


def test_every_frame_has_the_columns_that_the_document_lists(workplace: Path, report_params: Params) -> None:
    frames = load_frames(report_params)
    read = {name: getattr(frames, name) for name, one in vars(Frames).items() if isinstance(one, cached_property)}
    read = {name: frame for name, frame in read.items() if isinstance(frame, pd.DataFrame)}
    columns, meanings = _described()
    assert set(read) - set(columns) == {*OF_ANOTHER} and set(columns) <= set(read)
    for name, other in OF_ANOTHER.items():
        differing = set(read.pop(name)) ^ set(read[other])
        assert differing == ({"baseline_method"} if other == "comparisons" else set()), name
    for name, frame in read.items():
        expected = columns[name] | ({*rows.COLUMNS} if "condition" in columns[name] else set())
        assert set(frame) - IN_EVERY_FRAME == expected - IN_EVERY_FRAME, name
        assert IN_EVERY_FRAME - set(frame) == LACKING.get(name, set()), name
        for column in columns[name]:
            told = column in meanings or any(column.startswith(one) for one in meanings if one.endswith("_"))
            assert told, f"{name}.{column} has no meaning in {DOCUMENT.name}"


@pytest.mark.parametrize(
    "name", ["runs", "histories", "positions", "per_class", "comparisons", "parameters", "timings"]
)
def test_every_row_names_a_file_that_is_there(workplace: Path, report_params: Params, name: str) -> None:
    frame = getattr(load_frames(report_params), name)
    files = [column for column in frame if column == "source" or column.endswith("_file")]
    named = {file for column in files for file in frame[column].dropna()}
    assert len(frame) and named and all(Path(file).is_file() for file in named)
