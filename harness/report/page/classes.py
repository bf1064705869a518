"""The page's table of classes: all backbones side by side, a row a class."""

from __future__ import annotations

from harness.report.frames import Frames
from harness.report.paper_tables.numbers import number, span
from harness.report.paper_tables.table import Table, View


def class_view(frames: Frames, classes: Table) -> View:
    """AP in percent of each model, the main one's difference to its baseline, from the table `per_class`."""
    header, compared = ["class", "positives"], {model for model, _ in frames.headline_pairs}
    for model in frames.models:
        name = frames.backbone(model)
        header.append(f"{name} {frames.systems[model].method}")
        header += [f"{name} difference", f"{name} 95% interval"] if model in compared else []
    rows = []
    for row in classes.frame.to_dict("records"):
        cells = [str(row["label"]), number(row["positives"], "d")]
        for model in frames.models:
            cells.append(number(row[f"{model}_AP"], ".2f"))
            if model in compared:
                cells.append(number(row[f"{model}_difference"], "+.2f"))
                cells.append(span(row[f"{model}_low"], row[f"{model}_high"], sign="+"))
        rows.append(tuple(cells))
    return View("Average precision by class, in percent", tuple(header), tuple(rows))
