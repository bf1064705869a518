"""The tables stage: the paper's Table 1 beside the reproduced numbers, what stands behind it, and the verdict."""

from __future__ import annotations

from harness.base import paths
from harness.base.files import write_json, write_text
from harness.config.params import Params
from harness.report.answers import in_one_sentence
from harness.report.dvc_views import write_dvc_views
from harness.report.frames import Frames, load_frames
from harness.report.made_by import MadeBy, made_by
from harness.report.paper_tables.comparisons import comparisons
from harness.report.paper_tables.parameters import parameters
from harness.report.paper_tables.per_class import per_class
from harness.report.paper_tables.per_seed import per_seed
from harness.report.paper_tables.printed import printed
from harness.report.paper_tables.table import Table
from harness.report.paper_tables.table1 import table1
from harness.report.paper_tables.throughput import throughput
from harness.report.paper_tables.writing import write_table
from harness.report.show import PRINTED
from harness.report.verdict import verdict_page

ANSWER = "answer.txt"


def tables(params: Params) -> None:
    """Write paper_tables/PRESET: each table as CSV, Markdown and LaTeX, table1.txt (what `show` prints), answer.txt
    (one sentence, which README and page lead with), provenance.json and verdict.md; and what DVC's own views show, into
    results/PRESET.

    Raises UserError where a result file is missing, or is of other runs than another.
    """
    frames = load_frames(params)
    by = made_by(frames)
    found = report_tables(frames, by)
    folder, names = paths.tables(params.preset), []
    page = verdict_page(frames, by)
    for table in found:
        names += write_table(folder, table, params.preset)
    write_text(folder / PRINTED, printed(frames, by))
    write_text(folder / ANSWER, in_one_sentence(frames) + "\n")
    write_json(folder / "provenance.json", {table.name: table.provenance for table in found})
    write_text(folder / "verdict.md", page)
    write_dvc_views(frames)
    print(f"{folder}: {', '.join(names)}, {PRINTED}, {ANSWER}, provenance.json, verdict.md")


def report_tables(frames: Frames, by: MadeBy) -> list[Table]:
    """All tables, the paper's first, that of the classes last."""
    found = [
        table1(frames, by),
        comparisons(frames, by),
        parameters(frames),
        throughput(frames, by),
        per_seed(frames, by),
    ]
    return [*found, per_class(frames, by)]
