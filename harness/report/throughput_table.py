"""paper_tables/PRESET/throughput: every device that was timed, beside the paper's ratios and the project's goals."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.base import paths
from harness.config.params import Dcls
from harness.config.systems import is_dcls
from harness.report.grid import NONE, Grid, number, rate, span
from harness.report.load import Published, Results
from harness.report.made_by import MadeBy
from harness.report.summary import published_ratio
from harness.report.table import Table
from harness.report.timings import Timing, device_files, fairest, parse
from harness.throughput import rows

COLUMNS = (
    *("device", "model", *(name for name in rows.CONDITION if name != "device"), "status", "fairest"),
    *("ratio_published", "ratio", "ratio_low", "ratio_high", "noise", "in_words", "throughput", "revision"),
)
KEY = COLUMNS[: COLUMNS.index("status")]
NOTES = (
    "A ratio is the speed of the DCLS model over its baseline's: above 1, DCLS is the faster one. It is the median "
    "over rounds, in which the two take turns, with its 95% interval.",
    "Noise is how far from 1 that interval of the baseline's ratio to itself reaches: a smaller difference is none.",
    "Of each condition the largest batch that ran is shown; the CSV beside this page has all, and what did not run.",
    "The published ratio is one number a pair, from the authors' GPU; under which condition it was taken is not known.",
    "How fast DCLS is against the published package is measured by `make bench`: see dcls/README.md.",
)
HIGH_END = ("H100", "H200", "GH200")


@dataclass(frozen=True)
class Goal:
    """The smallest ratio wanted of the rows that `takes` picks; None: the published ratio of the pair."""

    words: str
    wanted: float | None
    takes: Callable[[Timing], bool]


GOALS = (
    Goal(
        "inference, bf16, compiled: ratio at least 0.95",
        0.95,
        lambda one: _is(one, "inference", "bf16") and one.condition.compiled,
    ),
    Goal(
        "inference, float32: ratio at least the published one",
        None,
        lambda one: _is(one, "inference", "float32") and not one.condition.compiled,
    ),
    Goal("training: ratio at least 0.85", 0.85, lambda one: one.condition.mode == "training"),
)


def throughput(results: Results, by: MadeBy) -> Table:
    """A row a DCLS model and condition on every device that was timed, of these DCLS parameters alone."""
    grids, lines, timed = [], [], []
    for path in device_files():
        cells = rows.read(path)
        timings = parse(str(path), cells, _dcls(results))
        best = fairest(timings)
        lines += list(_lines(path, cells, results, best))
        pairs = [one for one in timings if is_dcls(one.model)]
        if pairs:
            caption = f"DCLS over its baseline on {pairs[0].condition.device}"
            grids.append(_grid(caption, pairs, results.published, best))
        timed += pairs
    found = [dict(zip(COLUMNS, line, strict=True)) for _, line in lines]
    table = Table(
        name="throughput",
        title="Throughput: DCLS against its baseline, on every device that was timed",
        columns=COLUMNS,
        rows=tuple(found),
        grids=(*grids, _goals(timed, results.published)),
        facts=tuple(fact for fact in by.facts if fact[0] == "Timing"),
        warnings=(),
        notes=NOTES,
        key=KEY,
        sources={},
    )
    sources = {}
    for (path, _), row in zip(lines, found, strict=True):
        known = {column: (str(path),) for column in COLUMNS if row[column] != ""}
        sources[table.row_name(row)] = known | {"ratio_published": (str(paths.PUBLISHED),)}
    return replace(table, sources=sources)


def _dcls(results: Results) -> Dcls:
    """Those of the timings in table 1, which are those asked for."""
    return next(iter(results.timings.values())).dcls


def _lines(
    path: Path, cells: Iterable[dict[str, str]], results: Results, best: dict[str, Timing]
) -> Iterator[tuple[Path, tuple[object, ...]]]:
    """Every row of a DCLS model, also one that did not run, with the file that it is from."""
    dcls = _dcls(results)
    for row in cells:
        if not is_dcls(row["model"]) or any(row[key] != rows.text(getattr(dcls, key)) for key in rows.DCLS):
            continue
        one = next(iter(parse(str(path), [row])), None)
        numbers = (one.ratio, one.ratio_low, one.ratio_high, one.noise, one.verdict) if one else ("",) * 5
        condition = (row[name] for name in rows.CONDITION if name != "device")
        chosen = rows.text(one is not None and one == best.get(row["model"]))
        made = (row["throughput"], row["revision"])
        ratio = _published(results.published, row["model"], row["mode"])
        yield path, (row["device"], row["model"], *condition, row["status"], chosen, ratio, *numbers, *made)


def _grid(caption: str, pairs: Sequence[Timing], published: dict[str, Published], best: dict[str, Timing]) -> Grid:
    """The largest batch of each model and condition, and the rows that stand in table 1, marked."""
    largest = {(one.model, replace(one.condition, batch=0)): one for one in sorted(pairs, key=_batch)}
    in_table = {one.condition for one in best.values()}
    chosen = {id(one) for one in largest.values()} | {id(one) for one in pairs if one.condition in in_table}
    header = ("model", "condition", "clips/s", "ratio published", "here", "95% interval", "noise", "in words")
    cells = []
    for timing in pairs:
        if id(timing) not in chosen:
            continue
        mark = " (in table 1)" if timing.condition in in_table else ""
        cells.append(
            (
                timing.model,
                f"{timing.condition.words}{mark}",
                rate(timing.throughput),
                number(_published(published, timing.model, timing.condition.mode), ".2f"),
                number(timing.ratio, ".2f"),
                span(timing.ratio_low, timing.ratio_high),
                number(timing.noise, ".3f"),
                timing.verdict,
            )
        )
    return Grid(caption, header, tuple(cells), words=2)


def _goals(timed: Iterable[Timing], published: dict[str, Published]) -> Grid:
    """A line a goal: the pair that is furthest from it on any such GPU, or `not measured`."""
    here = [one for one in timed if any(name in one.condition.device for name in HIGH_END)]
    cells = []
    for goal in GOALS:
        margins = []
        for one in filter(goal.takes, here):
            wanted = goal.wanted or published_ratio(published, one.model)
            if one.ratio is not None and wanted is not None:
                margins.append((one.ratio - wanted, one))
        if not margins:
            cells.append((goal.words, "not measured", NONE, NONE))
            continue
        margin, worst = min(margins, key=lambda one: one[0])
        where = f"{worst.model}, {worst.condition.words}, {worst.condition.device}"
        cells.append((goal.words, "met" if margin >= 0 else "not met", number(worst.ratio, ".3f"), where))
    return Grid("Goals on a GPU of the H100 class", ("goal", "met", "lowest ratio", "of"), tuple(cells), words=4)


def _published(published: dict[str, Published], model: str, mode: str) -> float | None:
    """The paper says nothing of the speed of training."""
    return published_ratio(published, model) if mode == "inference" else None


def _is(timing: Timing, mode: str, precision: str) -> bool:
    condition = timing.condition
    return condition.mode == mode and condition.precision == precision and not condition.fused


def _batch(timing: Timing) -> int:
    return timing.condition.batch
