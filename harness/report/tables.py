"""The tables stage: the paper's Table 1 beside the reproduced numbers, what stands behind it, and the verdict."""

from __future__ import annotations

from harness.base import paths
from harness.base.files import write_json, write_text
from harness.config.params import Params
from harness.report.dvc_views import write_dvc_views
from harness.report.frames import Frames, load_frames
from harness.report.lead import ANSWER
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
from harness.report.selection import Selection
from harness.report.show import PRINTED
from harness.report.verdict import answer, verdict, verdict_page


def tables(chosen: Params | Selection) -> None:
    """Write paper_tables/PRESET: each table as CSV, Markdown and LaTeX, table1.txt (what `show` prints),
    provenance.json, verdict.md and answer.txt, its first sentence; and what DVC's own views show, into results/PRESET.

    Raises UserError where a result file is missing, or is of other runs than another.
    """
    frames = load_frames(chosen)
    by = made_by(frames)
    found = report_tables(frames, by)
    folder, names = paths.tables(chosen.preset), []
    claims = verdict(frames)
    for table in found:
        names += write_table(folder, table, chosen.preset)
    write_text(folder / PRINTED, printed(frames, by))
    write_json(folder / "provenance.json", {table.name: table.provenance for table in found})
    write_text(folder / "verdict.md", verdict_page(frames, claims, by))
    write_text(folder / ANSWER, f"{answer(frames, claims)}\n")
    write_dvc_views(frames)
    print(f"{folder}: {', '.join(names)}, {PRINTED}, provenance.json, verdict.md, {ANSWER}")


def report_tables(frames: Frames, by: MadeBy) -> list[Table]:
    """All tables: the paper's first, on other data than its own the systems that ran; that of the classes last."""
    first = [table1(frames, by), comparisons(frames, by)]
    found = [*(first if frames.kind == "audioset" else first[::-1]), parameters(frames), throughput(frames, by)]
    return [*found, per_seed(frames, by), per_class(frames, by)]
