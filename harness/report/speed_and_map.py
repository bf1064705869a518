"""mAP against throughput, reproduced and published."""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean, stdev

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from harness.config.systems import baseline_of, is_dcls, method_of
from harness.report import style
from harness.report.load import Results
from harness.report.summary import chance

# throughput, the ends of its 95% interval, mAP in percent, its standard deviation (0 where there is none)
Point = tuple[float, float, float, float, float]


def map_against_throughput(results: Results) -> Figure:
    """Reproduced on the left, published on the right; an arrow from each baseline to its DCLS model."""
    figure = Figure(figsize=(style.WIDTH, 3.6), layout="constrained")
    here, paper = figure.subplots(1, 2)
    _points(here, results, lambda model: _reproduced(results, model))
    _points(paper, results, lambda model: _published(results, model))
    here.set_title("reproduced")
    paper.set_title("published")
    scales = {run.training["parameters"]["model"]["scale"] for runs in results.runs.values() for run in runs}
    here.set_ylabel("test mAP (%)" if scales == {"full"} else "test mAP of the reduced models (%)")
    paper.set_ylabel("AudioSet mAP (%)")
    here.set_xlabel("throughput of the full-size models (clips/s)")
    paper.set_xlabel("throughput (clips/s)")
    lines = [here.axhline(chance(results), color=style.GREY, linewidth=1.2, linestyle=":", label="chance")]
    if results.linear:
        linear = 100 * fmean(run.metrics["mAP"] for run in results.linear)
        lines.append(here.axhline(linear, color=style.GREY, linewidth=1.2, linestyle="--", label="linear baseline"))
    here.set_ylim(bottom=0)
    figure.legend(handles=[*legend(results), *lines], loc="outside lower center", ncols=4)
    return figure


def _reproduced(results: Results, model: str) -> Point:
    maps = [100 * run.metrics["mAP"] for run in results.runs[model]]
    timing = results.timings[model]
    sd = stdev(maps) if len(maps) > 1 else 0.0
    return timing.throughput, timing.low, timing.high, fmean(maps), sd


def _published(results: Results, model: str) -> Point:
    row = results.published[model]
    return row.throughput, row.throughput, row.throughput, row.map_mean, row.map_std


def _points(axes: Axes, results: Results, point: Callable[[str], Point]) -> None:
    for model in results.models:
        speed, low, high, mean, sd = point(model)
        if is_dcls(model) and baseline_of(model) in results.models:
            start = point(baseline_of(model))
            axes.annotate(
                "",
                xy=(speed, mean),
                xytext=(start[0], start[3]),
                arrowprops={"arrowstyle": "->", "color": style.GREY, "linewidth": 0.9, "shrinkA": 4, "shrinkB": 5},
            )
        axes.errorbar(
            speed,
            mean,
            xerr=[[speed - low], [high - speed]],
            yerr=sd,
            marker=style.marker(model),
            markersize=5,
            color=style.colour(model),
            ecolor=style.colour(model),
            elinewidth=0.9,
            capsize=2,
            zorder=3,
        )
    axes.margins(0.12)


def legend(results: Results) -> list[Line2D]:
    """Colours of the methods, shapes of the backbones."""
    methods = {method_of(model): style.colour(model) for model in results.models}
    backbones = {results.published[model].backbone: style.marker(model) for model in results.models}
    return [
        *(Line2D([], [], color=colour, linewidth=4, label=method) for method, colour in methods.items()),
        *(
            Line2D([], [], color=style.GREY, marker=shape, markersize=5, linestyle="", label=backbone)
            for backbone, shape in backbones.items()
        ),
    ]
