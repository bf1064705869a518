"""Average precision class by class: every model's mean over its runs, and DCLS minus baseline with its interval."""

from __future__ import annotations

from statistics import fmean, stdev
from typing import Any

from harness.base import paths
from harness.base.errors import UserError
from harness.config.systems import LINEAR_BASELINE, baseline_of
from harness.data.clips.splits import folds_of
from harness.report.grid import NONE, Grid, mean_sd, number, span
from harness.report.load import Results, Run, read_rows
from harness.report.made_by import MadeBy
from harness.report.sources import result_file, run_files
from harness.report.table import EVERY_ROW, Table

DIFFERENCES = ("difference", "low", "high")
NOTES = (
    "Average precision in percent, the mean over the runs of a model that have a positive of the class; ± is the "
    "standard deviation over them. Positives are counted once for each set of test clips.",
    "The difference is DCLS minus baseline in percentage points, with its 95% interval over clips (paired bootstrap, "
    "for these weights; none for a class of few positives). Where nothing differs, one interval in twenty leaves out 0 "
    "all the same.",
)


def per_class(results: Results, by: MadeBy) -> Table:
    """A row a class, in the order of the data set's labels. Raises UserError where a per_class.csv is missing, or has
    other classes than the others."""
    models = _runs(results)
    columns = ["label", "positives", *(f"{model}_AP{sd}" for model in models for sd in ("", "_sd"))]
    columns += [f"{model}_{name}" for model in results.compared for name in DIFFERENCES]
    source = {"positives": run_files(results, results.scored, "evaluation/per_class.csv")}
    for model, runs in models.items():
        source |= dict.fromkeys((f"{model}_AP", f"{model}_AP_sd"), run_files(results, runs, "evaluation/per_class.csv"))
    compared = (result_file(results, "per_class_difference.csv"),)
    source |= {f"{model}_{name}": compared for model in results.compared for name in DIFFERENCES}
    rows = _rows(results, models)
    return Table(
        name="per_class",
        title="Average precision by class",
        columns=tuple(columns),
        rows=tuple(rows),
        grids=tuple(_grids(results, rows)),
        facts=(("Results", by.line),),
        warnings=by.warnings,
        notes=NOTES,
        key=("label",),
        sources={EVERY_ROW: source},
    )


def _runs(results: Results) -> dict[str, tuple[Run, ...]]:
    return results.runs | ({LINEAR_BASELINE: results.linear} if results.linear else {})


def _rows(results: Results, models: dict[str, tuple[Run, ...]]) -> list[dict[str, Any]]:
    read = {_path(results, run): _read(results, run) for runs in models.values() for run in runs}
    first = _path(results, results.scored[0])
    for path, classes in read.items():
        if list(classes) != list(read[first]):
            raise UserError(f"{path}: other classes than {first}; run `evaluate` of both again")
    test_sets = {(*folds_of("test", run.seed),) if results.folds else (): _path(results, run) for run in results.scored}
    rows: list[dict[str, Any]] = []
    for label in read[first]:
        row: dict[str, Any] = {
            "label": label,
            "positives": sum(read[path][label][0] for path in test_sets.values()),  # each test set once
        }
        for model, runs in models.items():
            found = (read[_path(results, run)][label][1] for run in runs)
            values = [100 * precision for precision in found if precision is not None]
            row[f"{model}_AP"] = fmean(values) if values else None
            row[f"{model}_AP_sd"] = stdev(values) if len(values) > 1 else None
        rows.append(row)
    _add_differences(results, {row["label"]: row for row in rows})
    return rows


def _add_differences(results: Results, rows: dict[str, dict[str, Any]]) -> None:
    path = paths.results(results.preset) / "per_class_difference.csv"
    wanted = {(model, label) for model in results.compared for label in rows}
    try:
        for line in read_rows(path) if wanted else []:
            if (line["model"], line["label"]) in wanted:
                wanted.remove((line["model"], line["label"]))
                for name in DIFFERENCES:
                    rows[line["label"]][f"{line['model']}_{name}"] = 100 * float(line[name]) if line[name] else None
    except (KeyError, ValueError) as error:
        raise UserError(f"{path}: {error}; run `compare-models` again") from error
    for model, label in sorted(wanted):
        raise UserError(f"{path}: no row of {model} and {label!r}; run `compare-models` again")


def _path(results: Results, run: Run) -> str:
    return run_files(results, (run,), "evaluation/per_class.csv")[0]


def _read(results: Results, run: Run) -> dict[str, tuple[int, float | None]]:
    """Positives and average precision in [0, 1] (None where there is no positive) by label."""
    path = paths.evaluation_results(results.preset, run.model, run.seed) / "per_class.csv"
    try:
        return {
            row["label"]: (int(row["positives"]), float(row["AP"]) if row["AP"] else None) for row in read_rows(path)
        }
    except (KeyError, ValueError) as error:
        raise UserError(f"{path}: {error}; delete it and run `evaluate` again") from error


def _grids(results: Results, rows: list[dict[str, Any]]) -> list[Grid]:
    """One a backbone, so that they are narrow enough for a page."""
    grids = []
    for baseline in dict.fromkeys(map(baseline_of, results.models)):
        models = [model for model in results.models if baseline_of(model) == baseline]
        pair = next((model for model in models if model in results.compared), None)
        header = ["class", "positives", *models, *(("DCLS - baseline", "95% interval") if pair else ())]
        cells = tuple(
            (
                row["label"],
                number(row["positives"], "d"),
                *(mean_sd(row[f"{model}_AP"], row[f"{model}_AP_sd"]) for model in models),
                *(_compared(row, pair) if pair else ()),
            )
            for row in rows
        )
        grids.append(Grid(f"AP by class, {results.published[baseline].backbone}", tuple(header), cells))
    return grids


def _compared(row: dict[str, Any], model: str) -> tuple[str, str]:
    difference, low, high = (row[f"{model}_{name}"] for name in DIFFERENCES)
    return (NONE if difference is None else f"{difference:+.2f}", span(low, high, sign="+"))
