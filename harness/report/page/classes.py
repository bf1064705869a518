"""The page's table of classes: all backbones side by side, a row a class."""

from __future__ import annotations

from harness.config.systems import is_dcls, method_of
from harness.report.grid import NONE, Grid, number, span
from harness.report.load import Results
from harness.report.made_by import MadeBy
from harness.report.page.sortable import Sortable, sortable
from harness.report.per_class import NOTES, per_class


def class_table(results: Results, by: MadeBy) -> tuple[Sortable, tuple[str, ...]]:
    """AP in percent of each model, DCLS minus baseline with its interval; and the notes on it."""
    header = ["class", "positives"]
    for model in results.models:
        name = results.published[model].backbone
        header.append(f"{name} {method_of(model)}")
        if model in results.compared:
            header += [f"{name} difference", f"{name} 95% interval"]
    rows = []
    for row in per_class(results, by).rows:
        cells = [str(row["label"]), str(row["positives"])]
        for model in results.models:
            cells.append(number(row[f"{model}_AP"], ".2f"))
            if is_dcls(model) and model in results.compared:
                difference, low, high = (row[f"{model}_{name}"] for name in ("difference", "low", "high"))
                cells += [NONE if difference is None else f"{difference:+.2f}", span(low, high, sign="+")]
        rows.append(tuple(cells))
    return sortable(Grid("Average precision by class, in percent", tuple(header), tuple(rows))), NOTES
