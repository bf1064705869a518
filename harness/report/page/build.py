"""results/PRESET/index.html, rendered from the template beside this file; nothing in it is fetched from elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from harness.base import paths
from harness.base.errors import UserError
from harness.base.files import write_text
from harness.config.params import Params
from harness.report.decisions import REFUTED, SUPPORTED
from harness.report.frames import Frames, load_frames
from harness.report.made_by import files_in_words, made_by
from harness.report.page.content import class_view, embedded_clips, embedded_figures, map_chart, sampled_positions
from harness.report.paper_tables.numbers import so_many
from harness.report.selection import Selection, selection_in
from harness.report.show import lead
from harness.report.tables import report_tables
from harness.report.verdict import verdict

MOST_BYTES = 2_000_000
MARKS = {SUPPORTED: "yes", REFUTED: "no"}  # of the others: open


def write_page(chosen: Params | Selection) -> None:
    """Write results/PRESET/index.html.

    Raises UserError where a result file or a figure is missing, or where the page would be larger than 2 MB.
    """
    # all that comes from a file is escaped; what the template names and is not given is an error
    templates = FileSystemLoader(Path(__file__).parent)
    environment = Environment(loader=templates, autoescape=True, undefined=StrictUndefined)
    environment.trim_blocks = environment.lstrip_blocks = True
    text = environment.get_template("index.html").render(_content(load_frames(chosen)))
    target = paths.results(chosen.preset) / "index.html"
    size = len(text.encode())
    if size > MOST_BYTES:
        raise UserError(f"{target}: would have {size:,} bytes, over {MOST_BYTES:,}; report fewer seeds or classes")
    write_text(target, text)
    print(f"{target}: {size / 1e6:.1f} MB")


def _content(frames: Frames) -> dict[str, Any]:
    by, first = made_by(frames), lead(frames.preset)
    *tables, classes = report_tables(frames, by)
    led = frames if first.preset == frames.preset else load_frames(selection_in(paths.results(first.preset)))
    figures = embedded_figures(frames)
    of_kernels = {
        frames.backbone(model): [one for one in figures if one["name"].endswith(f"_{model}")]
        for model in frames.main.values()
    }
    folded = [one["name"] for some in of_kernels.values() for one in some]
    return {
        "preset": frames.preset,
        "own": frames.kind == "folder",  # a user's clips
        "by": by,
        "lead": first,
        "chart": map_chart(led),
        "seeds": so_many(len(led.seeds), led.repeats),
        "caveats": made_by(led).warnings,
        "claims": verdict(frames),
        "marks": MARKS,
        "tables": tables,
        "classes": class_view(frames, classes),
        "class_notes": classes.notes,
        "figures": [one for one in figures if one["name"] not in folded],
        "kernel_figures": of_kernels,
        "positions": sampled_positions(frames),
        "clips": embedded_clips(frames),
        "records": files_in_words(frames)[["file", "code", "torch", "device"]].to_numpy().tolist(),
        "table_folder": str(paths.tables(frames.preset)),
    }
