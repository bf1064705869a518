"""The mAP of every run, with its interval: what the means of the table are means of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from harness.config.systems import LINEAR_BASELINE
from harness.data.clips.splits import folds_of
from harness.report.grid import NONE, Grid
from harness.report.load import Results, Run
from harness.report.made_by import MadeBy
from harness.report.sources import run_files
from harness.report.table import Table

PER_SEED = ("model", "seed", "fold", "test_clips", "map", "map_low", "map_high")
NUMBERS = ("test_clips", "map", "map_low", "map_high")


def per_seed(results: Results, by: MadeBy) -> Table:
    """A row a run of the models and of the linear baseline: mAP in percent; `fold` is None where there are none."""
    return Table(
        name="per_seed",
        title="Test mAP in percent by seed",
        columns=PER_SEED,
        rows=tuple(_rows(results)),
        grids=(_grid(results),),
        facts=(("Results", by.line),),
        warnings=by.warnings,
        notes=(),
        key=("model", "seed"),
        sources={
            f"{run.model}-{run.seed}": dict.fromkeys(NUMBERS, run_files(results, (run,), "evaluation/metrics.json"))
            for runs in _runs(results).values()
            for run in runs
        },
    )


def _rows(results: Results) -> Iterator[dict[str, Any]]:
    for runs in _runs(results).values():
        for run in runs:
            yield {
                "model": run.model,
                "seed": run.seed,
                "fold": _fold(results, run.seed),
                "test_clips": run.metrics["clips"],
                "map": 100 * run.metrics["mAP"],
                "map_low": 100 * run.metrics["mAP_low"],
                "map_high": 100 * run.metrics["mAP_high"],
            }


def _grid(results: Results) -> Grid:
    """A row a model, a column a seed, its fold named where it has one."""
    columns = [", ".join(filter(None, (_fold(results, seed), f"seed {seed}"))) for seed in results.seeds]
    cells = tuple((model, *(_cell(runs, seed) for seed in results.seeds)) for model, runs in _runs(results).items())
    return Grid("Test mAP in percent (95% interval over clips) by seed", ("model", *columns), cells)


def _runs(results: Results) -> dict[str, tuple[Run, ...]]:
    return results.runs | ({LINEAR_BASELINE: results.linear} if results.linear else {})


def _fold(results: Results, seed: int) -> str | None:
    return next(iter(folds_of("test", seed))) if results.folds else None


def _cell(runs: tuple[Run, ...], seed: int) -> str:
    run = next((run for run in runs if run.seed == seed), None)
    if run is None:
        return NONE
    low, high = 100 * run.metrics["mAP_low"], 100 * run.metrics["mAP_high"]
    return f"{100 * run.metrics['mAP']:.2f} ({low:.2f} to {high:.2f})"
