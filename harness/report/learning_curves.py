"""Learning curves: training loss and validation mAP by epoch, baseline beside DCLS."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from harness.base import paths
from harness.config.systems import baseline_of, method_of
from harness.report import style
from harness.report.load import Results, read_numbers

PANELS = (("train_loss", 1.0, "training loss\n(binary cross-entropy)"), ("val_mAP", 100.0, "validation mAP (%)"))


def learning_curves(results: Results) -> Figure | None:
    """A column a backbone, loss above mAP; the mean over seeds in a band from the lowest seed to the highest.

    None where nothing was trained here. Raises UserError where a history.csv is missing or no history.
    """
    if all(
        run.training["parameters"]["model"]["start"] == "published" for runs in results.runs.values() for run in runs
    ):
        return None
    pairs = list(dict.fromkeys(map(baseline_of, results.models)))
    figure = Figure(figsize=(style.DOUBLE if len(pairs) > 1 else style.SINGLE, 3.9), layout="constrained")
    axes = figure.subplots(len(PANELS), len(pairs), sharex="col", sharey="row", squeeze=False)
    for column, baseline in enumerate(pairs):
        axes[0, column].set_title(results.published[baseline].backbone)
        axes[-1, column].set_xlabel("epoch")
        for model in results.models:
            if baseline_of(model) == baseline:
                for row, (name, factor, _) in enumerate(PANELS):
                    _curves(axes[row, column], results, model, name, factor)
    for row, (_, _, label) in enumerate(PANELS):
        axes[row, 0].set_ylabel(label)
        figure.align_ylabels(axes[:, 0])
    figure.legend(handles=_legend(results), loc="outside upper center", ncols=3)
    return figure


def _curves(axes: Axes, results: Results, model: str, name: str, factor: float) -> None:
    """The mean over seeds and their range, over the epochs that all of them have."""
    histories = []
    for seed in results.seeds:
        path = paths.training_results(results.preset, model, seed) / "history.csv"
        histories.append({epoch: factor * value for epoch, value in read_numbers(path, ("epoch", name))})
    shared = sorted(set.intersection(*map(set, histories)))
    if not shared:
        return  # published weights: no epochs here
    dots = "o" if len(shared) == 1 else ""  # a line of one point does not show
    values = np.array([[history[epoch] for epoch in shared] for history in histories])
    if len(values) > 1:
        axes.fill_between(
            shared, values.min(0), values.max(0), color=style.colour(model), alpha=style.BAND, linewidth=0
        )
    axes.plot(shared, values.mean(0), color=style.colour(model), marker=dots)
    style.whole_numbers(axes)


def _legend(results: Results) -> list[Line2D | Patch]:
    methods = {method_of(model): style.colour(model) for model in results.models}
    count, repeats = len(results.seeds), results.repeats
    mean = f", mean of {count} {repeats}" if count > 1 else ""
    handles: list[Line2D | Patch] = [
        Line2D([], [], color=colour, label=f"{method}{mean}") for method, colour in methods.items()
    ]
    if count > 1:
        handles.append(Patch(color=style.GREY, alpha=style.BAND, label=f"lowest to highest of the {repeats}"))
    return handles
