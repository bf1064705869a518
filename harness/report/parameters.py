"""Where the parameters of the full-size models are, and which classes the paper's parameter column counts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from harness.base import paths
from harness.base.errors import UserError
from harness.base.files import read_json
from harness.config.systems import CLASS_COUNTS, baseline_of, is_dcls
from harness.report.grid import Grid, number
from harness.report.load import Results, load_record
from harness.report.made_by import counted_by
from harness.report.sources import result_file
from harness.report.table import Table

PARTS = ("backbone", "kernels", "positions", "spreads", "features")
PUBLISHED_TO = 50_000  # the paper rounds to 0.1M
COLUMNS = (
    "model",
    *PARTS,
    *(f"{part}_{classes}" for classes in CLASS_COUNTS for part in ("head", "total")),
    "published",
    *(f"difference_{classes}" for classes in CLASS_COUNTS),
    "published_counts_classes",
    "dcls_minus_baseline",
)
COMPARED = ("published_counts_classes", *(f"difference_{classes}" for classes in CLASS_COUNTS))
NOTES = (
    "The head is one linear layer: features x classes + classes. 527 are AudioSet's classes, 1000 ImageNet's; the "
    "last column says with which of the two a model meets the paper's column, which is rounded to 0.1M.",
    "Kernels are the weights of the depthwise convolutions that DCLS replaces or puts in their place: 49 a channel in "
    "7x7, one an element in DCLS. Positions and spreads, two numbers an element each, are shared by the layers of a "
    "stage. All else is the same in both.",
)


def parameters(results: Results) -> Table:
    """A row a model. Raises UserError where parameters.json is missing, lacks a model, or does not add up with the
    counts beside the timings."""
    rows = tuple(_rows(results))
    counted, published = result_file(results, "parameters.json"), str(paths.PUBLISHED)
    source: dict[str, tuple[str, ...]] = {}
    source |= dict.fromkeys(COLUMNS[1:], (counted,))
    source |= dict.fromkeys(COMPARED, (counted, published))
    source["published"] = (published,)
    return Table(
        name="parameters",
        title="Parameters of the full-size models, and what the paper's column counts",
        columns=COLUMNS,
        rows=rows,
        grids=(_parts(rows), _against_the_paper(rows)),
        facts=counted_by(load_record(paths.results(results.preset) / "parameters.run.json")),
        warnings=(),
        notes=NOTES,
        key=("model",),
        sources={
            row["model"]: {column: files for column, files in source.items() if row[column] is not None} for row in rows
        },
    )


def load_parameters(results: Results) -> dict[str, dict[str, Any]]:
    """Counts of `count_parameters` by model. Raises UserError as `parameters` does."""
    path = paths.results(results.preset) / "parameters.json"
    models = read_json(path).get("models", {})
    for model in results.models:
        if model not in models:
            raise UserError(f"{path}: no {model} in it; run `count-parameters` again")
        one = models[model]
        for classes in map(str, CLASS_COUNTS):
            try:
                head, total = one["classes"][classes]["head"], one["classes"][classes]["total"]
                parts = head + sum(one[part] for part in PARTS if part != "features")
                right = parts == total and head == (one["features"] + 1) * int(classes)
            except (KeyError, TypeError) as error:
                raise UserError(f"{path}: {model} lacks {error}; run `count-parameters` again") from error
            timed = results.timings[model].parameters[int(classes)]
            if not right or total != timed:
                raise UserError(
                    f"{path}: {model} with {classes} classes: {total} parameters in all, {parts} in its parts, {timed} "
                    "in the model that was timed; run `count-parameters` and `throughput` again"
                )
    return dict(models)


def _rows(results: Results) -> Iterator[dict[str, Any]]:
    models = load_parameters(results)
    for model in results.models:
        one, published = models[model], round(1e6 * results.published[model].params_millions)
        row: dict[str, Any] = {"model": model, "published": published, "dcls_minus_baseline": None}
        row |= {part: one[part] for part in PARTS}
        for classes in CLASS_COUNTS:
            counted = one["classes"][str(classes)]
            row |= {f"head_{classes}": counted["head"], f"total_{classes}": counted["total"]}
            row[f"difference_{classes}"] = counted["total"] - published
        meets = [str(classes) for classes in CLASS_COUNTS if abs(row[f"difference_{classes}"]) <= PUBLISHED_TO]
        row["published_counts_classes"] = " ".join(meets) or "neither"
        if is_dcls(model) and baseline_of(model) in results.models:
            last = str(CLASS_COUNTS[-1])
            row["dcls_minus_baseline"] = (
                one["classes"][last]["total"] - models[baseline_of(model)]["classes"][last]["total"]
            )
        yield row


def _parts(rows: tuple[dict[str, Any], ...]) -> Grid:
    header = (
        "model",
        "kernels",
        "positions",
        "spreads",
        "all else but the head",
        "head, 527 classes",
        "head, 1000 classes",
        "DCLS - baseline",
    )
    return Grid(
        "Where the parameters are",
        header,
        tuple(
            (
                row["model"],
                *(number(row[name], ",") for name in ("kernels", "positions", "spreads", "backbone")),
                *(f"({row['features']} + 1) x {classes} = {row[f'head_{classes}']:,}" for classes in CLASS_COUNTS),
                number(row["dcls_minus_baseline"], "+,"),
            )
            for row in rows
        ),
    )


def _against_the_paper(rows: tuple[dict[str, Any], ...]) -> Grid:
    header = (
        "model",
        "published",
        "1000 classes",
        "- published",
        "527 classes",
        "- published",
        "the paper counts (classes)",
    )
    return Grid(
        "All together, against the paper's column",
        header,
        tuple(
            (
                row["model"],
                f"{row['published'] / 1e6:.1f}M",
                number(row["total_1000"], ","),
                number(row["difference_1000"], "+,"),
                number(row["total_527"], ","),
                number(row["difference_527"], "+,"),
                row["published_counts_classes"],
            )
            for row in rows
        ),
    )
