"""Where the parameters of the full-size models are, and which classes the paper's parameter column counts."""

from __future__ import annotations

from typing import Any

import pandas as pd

from harness.base.errors import UserError
from harness.config.systems import CLASS_COUNTS, baseline_of
from harness.report.frames import Frames
from harness.report.made_by import counted_by
from harness.report.paper_tables.numbers import millions, number
from harness.report.paper_tables.table import Table, View, as_frame, cells_from

PARTS = ("backbone", "kernels", "positions", "spreads")
PUBLISHED_TO = 50_000  # the paper rounds to 0.1M
COLUMNS = (
    *("model", *PARTS, "features"),
    *(f"{part}_{classes}" for classes in CLASS_COUNTS for part in ("head", "total")),
    *("published", *(f"difference_{classes}" for classes in CLASS_COUNTS)),
    *("published_counts_classes", "dcls_minus_baseline"),
)
NOTES = (
    "The head is one linear layer: features x classes + classes. 527 are AudioSet's classes, 1000 ImageNet's; the "
    "last column says with which of the two a model meets the paper's column, which is rounded to 0.1M.",
    "Kernels are the weights of the depthwise convolutions that DCLS replaces or puts in their place: 49 a channel in "
    "7x7, one an element in DCLS. Positions and spreads, two numbers an element each, are shared by the layers of a "
    "stage. All else is the same in both.",
)


def parameters(frames: Frames) -> Table:
    """A row a model. Raises UserError as `counted` does."""
    lines = counted(frames).merge(frames.published[["model", "params_millions", "source"]], on="model")
    cells = pd.concat(
        [
            cells_from(lines, "model", (), lambda one: {"model": one.model.iloc[0]}),
            cells_from(lines, "model", ["source_x"], _counts),
            cells_from(lines, "model", ["source_y"], lambda one: {"published": _published(one)}),
            cells_from(lines, "model", ["source_x", "source_y"], _against_the_paper),
        ]
    )
    rows = list(as_frame(cells, COLUMNS).itertuples(index=False))
    return Table(
        name="parameters",
        title="Parameters of the full-size models, and what the paper's column counts",
        cells=cells,
        columns=COLUMNS,
        views=(_parts(rows), _totals(rows)),
        facts=counted_by(frames),
        notes=NOTES,
    )


def counted(frames: Frames) -> pd.DataFrame:
    """`Frames.parameters`, and `dcls_minus_baseline` in all. Raises UserError where the parts do not add up to the
    whole, or to what the model that was timed has."""
    found = frames.parameters.rename(columns={"backbone": "name", "backbone_parameters": "backbone"})
    found = found.merge(frames.shown_timings[["model", *(f"parameters_{one}" for one in CLASS_COUNTS)]], on="model")
    for classes in CLASS_COUNTS:
        head, total, timed = found[f"head_{classes}"], found[f"total_{classes}"], found[f"parameters_{classes}"]
        parts = head + found[list(PARTS)].sum(axis=1)
        wrong = (parts != total) | (head != (found.features + 1) * classes) | (total != timed)
        for one in wrong[wrong].index[:1]:
            raise UserError(
                f"{found.source[one]}: {found.model[one]} with {classes} classes: {total[one]} parameters in all, "
                f"{parts[one]} in its parts, {timed[one]:.0f} in the model that was timed; run `count-parameters` and "
                "`throughput` again"
            )
    totals = found.set_index("model")[f"total_{CLASS_COUNTS[-1]}"]
    baselines = found.model.map(baseline_of)
    more = totals.to_numpy() - totals.reindex(baselines).to_numpy()
    return found.assign(dcls_minus_baseline=pd.Series(more).where(baselines != found.model))


def _counts(lines: pd.DataFrame) -> dict[str, Any]:
    one = lines.iloc[0]
    found = {name: one[name] for name in COLUMNS[1 : COLUMNS.index("published")]}
    more = one.dcls_minus_baseline
    return found | {"dcls_minus_baseline": None if pd.isna(more) else int(more)}


def _published(lines: pd.DataFrame) -> int:
    return round(1e6 * lines.params_millions.iloc[0])


def _against_the_paper(lines: pd.DataFrame) -> dict[str, Any]:
    more = {classes: lines[f"total_{classes}"].iloc[0] - _published(lines) for classes in CLASS_COUNTS}
    meets = [str(classes) for classes in CLASS_COUNTS if abs(more[classes]) <= PUBLISHED_TO]
    found = {f"difference_{classes}": value for classes, value in more.items()}
    return found | {"published_counts_classes": " ".join(meets) or "neither"}


def _parts(rows: list[Any]) -> View:
    header = (
        *("model", "kernels", "positions", "spreads", "all else but the head"),
        *(*(f"head, {classes} classes" for classes in CLASS_COUNTS), "DCLS - baseline"),
    )
    cells = tuple(
        (
            row.model,
            *(number(count, ",") for count in (row.kernels, row.positions, row.spreads, row.backbone)),
            f"({row.features} + 1) x 527 = {row.head_527:,}",
            f"({row.features} + 1) x 1000 = {row.head_1000:,}",
            number(row.dcls_minus_baseline, "+,"),
        )
        for row in rows
    )
    return View("Where the parameters are", header, cells)


def _totals(rows: list[Any]) -> View:
    header = (
        *("model", "published", "1000 classes", "- published", "527 classes", "- published"),
        "the paper counts (classes)",
    )
    cells = tuple(
        (
            *(row.model, millions(row.published), number(row.total_1000, ","), number(row.difference_1000, "+,")),
            *(number(row.total_527, ","), number(row.difference_527, "+,"), row.published_counts_classes),
        )
        for row in rows
    )
    return View("All together, against the paper's column", header, cells)
