"""Calibration: how often classes are there among those that a model gives a score, by the score."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.base import paths
from harness.base.errors import UserError
from harness.config.systems import LINEAR_BASELINE, baseline_of, method_of
from harness.report import style
from harness.report.load import Results, read_rows

FEWEST = 20  # pairs of clip and class in a bin that is drawn
LOWEST = 0.005  # where the axes start; bins of lower scores are not drawn
Bins = np.ndarray  # float64 (bins, 3): pairs of clip and class, sum of their scores, positives among them


def reliability(results: Results) -> Figure | None:
    """A panel a backbone, both axes logarithmic: observed share over mean score, bin by bin, all seeds together.

    Bins without a positive lie below the axis and are not drawn. None where not all runs recorded calibration.csv;
    raises UserError where one is no such file.
    """
    found = {model: _pooled(results, model, results.seeds) for model in results.models}
    if any(bins is None for bins in found.values()):
        return None
    linear = _pooled(results, LINEAR_BASELINE, tuple(run.seed for run in results.linear)) if results.linear else None
    backbones = list(dict.fromkeys(map(baseline_of, results.models)))
    width = style.DOUBLE if len(backbones) > 1 else style.SINGLE
    figure = Figure(figsize=(width, 3.45), layout="constrained")
    panels = figure.subplots(1, len(backbones), sharex=True, sharey=True, squeeze=False)[0]
    for axes, baseline in zip(panels, backbones, strict=True):
        axes.plot([LOWEST, 1], [LOWEST, 1], color=style.GREY, linewidth=0.8, linestyle=":", label="as it should be")
        if linear is not None:
            _curve(axes, linear, style.GREY, "D", "linear baseline")
        for model, bins in found.items():
            if baseline_of(model) == baseline and bins is not None:
                _curve(axes, bins, style.colour(model), style.marker(model), method_of(model))
        axes.set(xscale="log", yscale="log", xlim=(LOWEST, 1), ylim=(LOWEST, 1), xlabel="mean score")
        axes.set_title(results.published[baseline].backbone)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.set_box_aspect(1)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), fontsize=7, handlelength=1.4)
    panels[0].set_ylabel("share of positives")
    return figure


def _pooled(results: Results, model: str, seeds: tuple[int, ...]) -> Bins | None:
    """The bins of all seeds together; None where one was not recorded."""
    files = [paths.evaluation_results(results.preset, model, seed) / "calibration.csv" for seed in seeds]
    if not all(path.exists() for path in files):
        return None
    return np.sum([_read(path) for path in files], axis=0)


def _read(path: Path) -> Bins:
    try:
        rows = [(int(row["count"]), row["mean_predicted"], row["observed"]) for row in read_rows(path)]
        return np.array([[n, n * float(score), n * float(share)] if n else [0, 0, 0] for n, score, share in rows])
    except (KeyError, ValueError) as error:
        raise UserError(f"{path}: {error}; delete it and run its stage again") from error


def _curve(axes: Axes, bins: Bins, colour: str, marker: str, name: str) -> None:
    """A line through the bins that hold enough; the expected calibration error is that of all bins."""
    count, scores, positives = bins.T
    error = np.abs(scores - positives).sum() / count.sum()
    drawn = (count >= FEWEST) & (positives > 0)
    axes.plot(
        scores[drawn] / count[drawn],
        positives[drawn] / count[drawn],
        color=colour,
        marker=marker,
        markersize=3,
        linewidth=1.0,
        label=f"{name}, error {100 * error:.1f} %",
    )
