"""mAP against the number of trained parameters, reproduced and published."""

from __future__ import annotations

from statistics import fmean, stdev

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.config.systems import baseline_of
from harness.report import style
from harness.report.load import Results
from harness.report.speed_and_map import legend


def map_against_parameters(results: Results) -> Figure:
    """Reproduced on the left, with the parameters of the models that were trained; published on the right.

    A line joins each baseline and its DCLS model; bars are standard deviations over the runs.
    """
    figure = Figure(figsize=(style.DOUBLE, 3.2), layout="constrained")
    here, paper = figure.subplots(1, 2)
    reproduced, published = {}, {}
    for model in results.models:
        maps = [100 * run.metrics["mAP"] for run in results.runs[model]]
        trained = results.runs[model][0].training["trained_parameters"]
        reproduced[model] = trained / 1e6, fmean(maps), stdev(maps) if len(maps) > 1 else 0.0
        row = results.published[model]
        published[model] = row.params_millions, row.map_mean, row.map_std
    _points(here, reproduced)
    _points(paper, published)
    here.set(title="reproduced", xlabel="trained parameters (millions)", ylabel="test mAP (%)")
    here.set_ylim(bottom=0)
    paper.set(title="published", xlabel="parameters, 1000 classes (millions)", ylabel="AudioSet mAP (%)")
    figure.legend(handles=legend(results), loc="outside lower center", ncols=5)
    return figure


def _points(axes: Axes, points: dict[str, tuple[float, float, float]]) -> None:
    for model, (millions, mean, sd) in points.items():
        start = points.get(baseline_of(model), (millions, mean, sd))
        axes.plot([start[0], millions], [start[1], mean], color=style.GREY, linewidth=0.8, zorder=1)
        axes.errorbar(
            millions,
            mean,
            yerr=sd,
            marker=style.marker(model),
            markersize=5,
            color=style.colour(model),
            elinewidth=0.9,
            capsize=2,
            zorder=3,
        )
    axes.margins(0.12)
