"""Where the parameters of the full-size models are, and which classes the paper's parameter column counts."""

from __future__ import annotations

from typing import Any

import pandas as pd

from harness.base.errors import UserError
from harness.config.systems import CLASS_COUNTS
from harness.report.frames import Frames
from harness.report.made_by import counted_by
from harness.report.paper_tables.numbers import millions, number, words
from harness.report.paper_tables.table import Column, Table, as_frame, cells_from, view

PARTS = ("backbone", "kernels", "positions", "spreads")
PUBLISHED_TO = 50_000  # the paper rounds to 0.1M
COUNTED = (*PARTS, "features", *(f"{part}_{classes}" for classes in CLASS_COUNTS for part in ("head", "total")))
COMPARED = (*(f"difference_{classes}" for classes in CLASS_COUNTS), "published_counts_classes")
COLUMNS = ("model", "convolution", *COUNTED, "published", *COMPARED, "minus_baseline")
NOTES = (
    "The head is one linear layer: features x classes + classes. 527 are AudioSet's classes, 1000 ImageNet's; the "
    "last column says with which of the two a model meets the paper's column, which is rounded to 0.1M.",
    "Kernels are the weights of the depthwise convolutions that DCLS replaces or puts in their place: 49 a channel in "
    "7x7, one an element in DCLS. Positions and spreads, two numbers an element each, are shared by the layers of a "
    "stage. All else is the same in both.",
)


def parameters(frames: Frames) -> Table:
    """A row a model. Raises UserError as `counted` does."""
    published = frames.published[["model", "parameters", "source"]].rename(columns={"source": "published_file"})
    lines = counted(frames).merge(published.rename(columns={"parameters": "published"}), on="model", how="left")
    lines = lines.astype({"published": "Int64"})
    for classes in CLASS_COUNTS:
        lines[f"difference_{classes}"] = lines[f"total_{classes}"] - lines.published
    lines["published_counts_classes"] = [_meets(one) for one in lines.itertuples()]
    cells = cells_from(
        "model",
        (lines, (), ["model"]),
        (lines, ["source"], ["convolution", *COUNTED, "minus_baseline"]),
        (lines, ["published_file"], ["published"]),
        (lines, ["source", "published_file"], COMPARED),
    )
    rows = list(as_frame(cells, COLUMNS).itertuples(index=False))
    parts: list[Column] = [
        ("model", "model"),
        ("convolution", "convolution"),
        ("kernels", lambda row: number(row.kernels, ",")),
        ("positions", lambda row: number(row.positions, ",")),
        ("spreads", lambda row: number(row.spreads, ",")),
        ("all else but the head", lambda row: number(row.backbone, ",")),
        ("head, 527 classes", lambda row: f"({row.features} + 1) x 527 = {row.head_527:,}"),
        ("head, 1000 classes", lambda row: f"({row.features} + 1) x 1000 = {row.head_1000:,}"),
        ("- baseline", lambda row: number(row.minus_baseline, "+,")),
    ]
    totals: list[Column] = [
        ("model", "model"),
        ("published", lambda row: millions(row.published)),
        ("1000 classes", lambda row: number(row.total_1000, ",")),
        ("- published", lambda row: number(row.difference_1000, "+,")),
        ("527 classes", lambda row: number(row.total_527, ",")),
        ("- published", lambda row: number(row.difference_527, "+,")),
        ("the paper counts (classes)", lambda row: words(row.published_counts_classes)),
    ]
    return Table(
        name="parameters",
        title="Parameters of the full-size models, and what the paper's column counts",
        cells=cells,
        columns=COLUMNS,
        views=(
            view("Where the parameters are", rows, parts, words=2),
            view("All together, against the paper's column", rows, totals),
        ),
        facts=counted_by(frames),
        notes=NOTES,
    )


def counted(frames: Frames) -> pd.DataFrame:
    """`Frames.parameters`, and `minus_baseline` in all. Raises UserError where the parts do not add up to the
    whole, or to what the model that was timed has."""
    found = frames.parameters.rename(columns={"backbone": "name", "backbone_parameters": "backbone"})
    timings = frames.shown_timings[["model", *(f"parameters_{one}" for one in CLASS_COUNTS)]]
    found = found.merge(timings, on="model", how="left")
    for classes in CLASS_COUNTS:
        head, total, timed = found[f"head_{classes}"], found[f"total_{classes}"], found[f"parameters_{classes}"]
        parts = head + found[list(PARTS)].sum(axis=1)
        wrong = (parts != total) | (head != (found.features + 1) * classes) | (timed.notna() & (total != timed))
        for one in wrong[wrong].index[:1]:
            raise UserError(
                f"{found.source[one]}: {found.model[one]} with {classes} classes: {total[one]} parameters in all, "
                f"{parts[one]} in its parts, {timed[one]:.0f} in the model that was timed; run `count-parameters` and "
                "`throughput` again"
            )
    totals = found.set_index("model")[f"total_{CLASS_COUNTS[-1]}"]
    more = totals.to_numpy() - totals.reindex(found.model.map(frames.baseline)).to_numpy()
    return found.assign(minus_baseline=pd.Series(more).astype("Int64"))


def _meets(one: Any) -> str:
    """The numbers of classes with which a model has as many parameters as the paper says; none where it says none."""
    if pd.isna(one.published):
        return ""
    meets = [str(classes) for classes in CLASS_COUNTS if abs(getattr(one, f"difference_{classes}")) <= PUBLISHED_TO]
    return " ".join(meets) or "neither"
