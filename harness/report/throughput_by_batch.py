"""Throughput of the full-size models against the batch size."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

from harness.config.systems import MODELS, baseline_of, is_dcls, method_of
from harness.report import style
from harness.report.load import Results
from harness.report.timings import Timing, condition_of, parse
from harness.throughput import rows
from harness.throughput.condition import MODES, Condition
from harness.throughput.device import timings_file


def throughput_by_batch(results: Results) -> Figure:
    """A column a backbone, a row a mode: clips/s of baseline and DCLS by batch, with 95% intervals.

    The condition is that of the table but for mode and batch; a cross marks a batch that did not fit into memory.
    """
    reference = next(iter(results.timings.values()))
    path = timings_file(reference.condition.device)
    cells = rows.read(path)
    timings = [one for one in parse(str(path), cells, reference.dcls) if _alike(one.condition, reference.condition)]
    full = [
        (row["model"], condition)
        for row in cells
        if row["status"] == rows.OUT_OF_MEMORY and _alike(condition := condition_of(row), reference.condition)
    ]
    dcls_models = [model for model in MODELS if is_dcls(model)]
    modes = [mode for mode in MODES if any(one.condition.mode == mode for one in timings)]
    figure = Figure(figsize=(style.WIDTH, 0.7 + 2.5 * len(modes)), layout="constrained")
    grid = figure.subplots(len(modes), len(dcls_models), sharex=True, squeeze=False)
    for mode, line in zip(modes, grid, strict=True):
        for model, axes in zip(dcls_models, line, strict=True):
            for name in (baseline_of(model), model):
                here = [one for one in timings if (one.model, one.condition.mode) == (name, mode)]
                lost = [one.batch for other, one in full if (other, one.mode) == (name, mode)]
                _draw(axes, name, sorted(here, key=lambda one: one.condition.batch), lost)
            _ticks(axes, {one.condition.batch for one in timings} | {one.batch for _, one in full})
        line[0].set_ylabel(f"{mode} (clips/s)")
    for model, axes in zip(dcls_models, grid[0], strict=True):
        axes.set_title(results.published[model].backbone)
    for axes in grid[-1]:
        axes.set_xlabel("batch (clips)")
    handles = [
        Line2D([], [], color=style.colour(name), marker="o", label=method_of(name))
        for name in (baseline_of(dcls_models[0]), dcls_models[0])
    ]
    if full:
        handles.append(Line2D([], [], color=style.GREY, marker="x", linestyle="", label="out of memory"))
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure


def _alike(one: Condition, other: Condition) -> bool:
    same = ("precision", "compiled", "channels_last", "fused", "classes", "baseline_depthwise")
    return all(getattr(one, name) == getattr(other, name) for name in same)


def _draw(axes: Axes, model: str, timings: Sequence[Timing], lost: Sequence[int]) -> None:
    batches, speeds = [one.condition.batch for one in timings], [one.throughput for one in timings]
    arms = [[one.throughput - one.low for one in timings], [one.high - one.throughput for one in timings]]
    colour = style.colour(model)
    axes.errorbar(batches, speeds, yerr=arms, color=colour, marker="o", markersize=5, capsize=3, elinewidth=1.2)
    if lost:  # an empty line that is not clipped has no extent, on which the layout fails
        axes.plot(lost, [0] * len(lost), color=colour, marker="x", linestyle="", clip_on=False)


def _ticks(axes: Axes, batches: set[int]) -> None:
    """A tick at each batch that was timed."""
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(sorted(batches)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:.0f}"))
    axes.margins(x=0.15)
    axes.set_ylim(bottom=0)
