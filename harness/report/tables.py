"""The tables stage: the paper's Table 1 beside the reproduced numbers, what stands behind it, and the verdict."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from harness.base.files import write_json, write_text
from harness.config.params import Params
from harness.config.systems import is_dcls
from harness.report.dvc_views import write_dvc_views
from harness.report.grid import NONE, Grid, count, mean_sd, number, rate, rate_span, span
from harness.report.load import Reference, Results, load_results, table_folder
from harness.report.made_by import MadeBy, coverage, made_by
from harness.report.parameters import parameters
from harness.report.per_class import per_class
from harness.report.per_seed import per_seed
from harness.report.sources import table1_sources
from harness.report.summary import FOLDS_RULE, RULE, Row, summary
from harness.report.table import Table, provenance_of, write_table
from harness.report.throughput_table import throughput
from harness.report.verdict import verdict_page

TITLE = "Table 1 of arXiv 2309.13972: published and reproduced"
NOTES = (
    "mAP is in percent; ± is the standard deviation over n seeds, or over folds.",
    "Parameters and throughput are those of the full-size models, whatever was trained; the published parameters "
    "count the 1000-class heads.",
    "Throughput is in clips (128x1001 log-mel) a second, the median of the timed rounds with its 95% interval. The "
    "published one is from the authors' GPU: only the ratios compare. The ratio is taken within rounds, in which DCLS "
    "model and baseline take turns; there is no difference where it is no further from 1 than the noise, which is what "
    "the baseline timed against itself shows (throughput.md has all devices and conditions).",
)


def tables(params: Params) -> None:
    """Write paper_tables/PRESET: each table as CSV, Markdown and LaTeX, provenance.json and verdict.md; and what DVC's
    own views show, into results/PRESET.

    Raises UserError where a result file is missing, or is of other runs than another.
    """
    results = load_results(params)
    by = made_by(results)
    found = report_tables(results, by)
    folder, names = table_folder(params.preset), []
    for table in found:
        names += write_table(folder, table, params.preset)
    write_json(folder / "provenance.json", {table.name: provenance_of(table) for table in found})
    write_text(folder / "verdict.md", verdict_page(results, by))
    write_dvc_views(results, found[-1].rows)
    print(f"{folder}: {', '.join(names)}, provenance.json, verdict.md")


def report_tables(results: Results, by: MadeBy) -> list[Table]:
    """All tables, the paper's first, that of the classes last."""
    found = [table1(results, by), parameters(results), throughput(results, by), per_seed(results, by)]
    return [*found, per_class(results, by)]


def table1(results: Results, by: MadeBy) -> Table:
    """The paper's table with the reproduced numbers beside it."""
    rows = summary(results)
    return Table(
        name="table1",
        title=TITLE,
        columns=tuple(field.name for field in dataclasses.fields(Row)),
        rows=tuple(dataclasses.asdict(row) for row in rows),
        grids=tuple(grids(results, rows)),
        facts=by.facts,
        warnings=(*by.warnings, *by.disagreements),
        notes=notes(results),
        key=("model",),
        sources={row.model: table1_sources(results, row) for row in rows},
    )


def grids(results: Results, rows: Sequence[Row]) -> list[Grid]:
    """What Markdown and LaTeX show: the paper's table, reference points, DCLS against baseline, and the details."""
    found = [_main(rows, coverage(results))]
    if results.references:
        found.append(_references(results.references))
    dcls = [row for row in rows if row.parameters_527 is not None and is_dcls(row.model)]
    if dcls:
        found.append(_comparison(dcls, results.repeats))
    return [*found, _details(rows, results.repeats)]


def notes(results: Results) -> tuple[str, ...]:
    """What stands below the tables."""
    return (*NOTES, RULE, FOLDS_RULE) if results.folds else (*NOTES, RULE)


def _main(rows: Iterable[Row], covered: str) -> Grid:
    header = (
        "model",
        "kernel size / count",
        "mAP published",
        f"mAP reproduced{f' ({covered})' if covered else ''}",
        "mAP / chance",
        "parameters published",
        "reproduced (1000 / 527 classes)",
        "throughput published",
        "reproduced (527 classes)",
    )
    return Grid("The paper's table: published and reproduced", header, tuple(_main_cells(row) for row in rows), words=2)


def _main_cells(row: Row) -> tuple[str, ...]:
    parameters = NONE
    if row.parameters_1000 is not None and row.parameters_527 is not None:
        parameters = f"{_millions(row.parameters_1000)} / {_millions(row.parameters_527)}"
    return (
        row.model,
        _kernel(row),
        mean_sd(row.map_published, row.map_sd_published),
        reproduced_map(row),
        number(row.map_over_chance, ".1f"),
        _millions(row.parameters_published),
        parameters,
        number(row.throughput_published, ".1f"),
        rate(row.throughput_527),
    )


def _references(references: Iterable[Reference]) -> Grid:
    header = ("system", "where from", "mAP")
    cells = tuple(
        (
            one.name,
            one.source,
            mean_sd(
                100 * one.map_mean, None if one.map_sd is None else 100 * one.map_sd, f"n {one.n}" if one.n else ""
            ),
        )
        for one in references
    )
    return Grid("Reference points: not produced by this run", header, cells, words=2)


def _comparison(rows: Iterable[Row], repeats: str) -> Grid:
    header = (
        "DCLS against its baseline",
        "mAP, in words",
        "mAP difference published",
        "reproduced",
        f"95% interval ({repeats} and clips)",
        "95% interval (clips alone)",
        "speed ratio published",
        "reproduced",
        "95% interval",
        "noise",
        "speed, in words",
    )
    cells = tuple(
        (
            row.model,
            row.map_difference_in_words or "baseline not run",
            number(row.map_difference_published, "+.2f"),
            mean_sd(
                row.map_difference_mean,
                row.map_difference_sd,
                count(row.map_difference_seeds, row.repeats),
                sign="+",
            ),
            span(row.map_difference_low, row.map_difference_high, sign="+"),
            span(row.map_difference_clips_low, row.map_difference_clips_high, sign="+"),
            number(row.speed_ratio_published, ".2f"),
            number(row.speed_ratio_527, ".2f"),
            span(row.speed_ratio_527_low, row.speed_ratio_527_high),
            number(row.speed_ratio_noise, ".2f"),
            row.speed_in_words or NONE,
        )
        for row in rows
    )
    return Grid("DCLS minus baseline (mAP), DCLS over baseline (speed)", header, cells, words=2)


def _details(rows: Iterable[Row], repeats: str) -> Grid:
    header = (
        "model",
        f"mAP: the {repeats}' 95% intervals over clips span",
        "parameters trained",
        "parameters, 527 classes",
        "1000 classes",
        "throughput (95% interval)",
    )
    cells = tuple(
        (
            row.model,
            span(row.map_intervals_lowest, row.map_intervals_highest),
            number(row.parameters_trained, ","),
            number(row.parameters_527, ","),
            number(row.parameters_1000, ","),
            rate_span(row.throughput_527, row.throughput_527_low, row.throughput_527_high),
        )
        for row in rows
        if row.map_intervals_lowest is not None
    )
    return Grid("Details of the reproduced columns", header, cells)


def reproduced_map(row: Row) -> str:
    return mean_sd(row.map_mean, row.map_sd, count(row.map_seeds, row.repeats))


def _millions(count: float | None) -> str:
    return NONE if count is None else f"{count / 1e6:.1f}M"


def _kernel(row: Row) -> str:
    if row.kernel_size is None:
        return NONE
    published, here = (
        f"{size} / {count}"
        for size, count in (
            (row.kernel_size_published, row.kernel_count_published),
            (row.kernel_size, row.kernel_count),
        )
    )
    return here if here == published else f"{published}, here {here}"
