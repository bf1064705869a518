"""What DVC's own views show: a few named numbers for `dvc metrics diff`, and three tables for `dvc plots show`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from harness.base import paths
from harness.base.files import write_csv, write_json
from harness.config.systems import is_dcls, method_of
from harness.report.load import Results, read_numbers
from harness.report.summary import summary

HISTORY = ("backbone", "method", "seed", "epoch", "train_loss", "val_mAP_percent")
POSITIONS = ("backbone", "seed", "stage", "epoch", "mean_displacement_cells")
DIFFERENCES = ("backbone", "label", "difference_points", "low", "high")


def write_dvc_views(results: Results, classes: Sequence[Mapping[str, Any]]) -> None:
    """Write results/PRESET/summary.json and results/PRESET/plots/*.csv; `classes` are the rows of per_class.csv.

    Raises UserError where a history.csv or positions.csv cannot be read.
    """
    folder = paths.results(results.preset)
    write_json(folder / "summary.json", headline(results))
    write_csv(folder / "plots" / "history.csv", HISTORY, _history(results))
    write_csv(folder / "plots" / "positions.csv", POSITIONS, _positions(results))
    write_csv(folder / "plots" / "class_differences.csv", DIFFERENCES, _differences(results, classes))


def headline(results: Results) -> dict[str, dict[str, float]]:
    """What a reader of a diff wants to know: mAP in percent by model, what DCLS adds to it, and its relative speed."""
    rows = summary(results)
    return {
        "mAP_percent": {row.model: row.map_mean for row in rows if row.map_mean is not None and row.model != "chance"},
        "mAP_points_DCLS_minus_baseline": {
            str(row.backbone): row.map_difference_mean for row in rows if row.map_difference_mean is not None
        },
        "speed_DCLS_over_baseline": {
            str(row.backbone): row.speed_ratio_527 for row in rows if row.speed_ratio_527 is not None
        },
    }


def _history(results: Results) -> Iterator[tuple[Any, ...]]:
    for model, runs in results.runs.items():
        for run in runs:
            path = paths.training_results(results.preset, model, run.seed) / "history.csv"
            for epoch, loss, precision in read_numbers(path, ("epoch", "train_loss", "val_mAP")):
                yield results.published[model].backbone, method_of(model), run.seed, int(epoch), loss, 100 * precision


def _positions(results: Results) -> Iterator[tuple[Any, ...]]:
    for model in filter(is_dcls, results.models):
        for run in results.runs[model]:
            path = paths.training_results(results.preset, model, run.seed) / "positions.csv"
            for stage, epoch, moved in read_numbers(path, ("stage", "epoch", "mean_displacement")):
                yield results.published[model].backbone, run.seed, int(stage), int(epoch), moved


def _differences(results: Results, classes: Iterable[Mapping[str, Any]]) -> Iterator[tuple[Any, ...]]:
    for model in results.compared:
        for row in classes:
            if row[f"{model}_difference"] is not None:
                difference, low, high = (row[f"{model}_{name}"] for name in ("difference", "low", "high"))
                yield results.published[model].backbone, row["label"], difference, low, high
