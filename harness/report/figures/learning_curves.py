"""Learning curves: training loss and validation mAP by epoch, baseline beside DCLS."""

from __future__ import annotations

import seaborn as sns
from matplotlib.figure import Figure

from harness.report.figures import theme
from harness.report.frames import Frames

MEASURES = {"train_loss": "training loss\n(binary cross-entropy)", "val_mAP_percent": "validation mAP (%)"}
BAND = {"alpha": 0.25, "linewidth": 0}


def learning_curves(frames: Frames) -> Figure | None:
    """A column a backbone, loss above mAP: the mean over seeds, in a band from the lowest seed to the highest.

    Epochs that some seed lacks are left out. None where nothing was trained here.
    """
    histories = frames.histories.assign(val_mAP_percent=100 * frames.histories.val_mAP)
    seeds = histories.groupby(["model", "epoch"]).seed.transform("nunique")
    histories = histories[seeds == len(frames.seeds)]
    if histories.empty:
        return None
    curves = histories.melt(["backbone", "method", "epoch"], list(MEASURES), "measure")
    grid = theme.facets(curves, 3.9, row="measure", col="backbone", hue="method", sharex="col", sharey="row")
    dots = "o" if curves.groupby(["backbone", "method"]).epoch.nunique().min() == 1 else ""  # a line of one point
    grid.map_dataframe(sns.lineplot, x="epoch", y="value", marker=dots, errorbar=("pi", 100), err_kws=BAND)
    theme.label_rows(grid, MEASURES.values())
    for axes in grid.axes[-1]:
        axes.set_xlabel("epoch")
        theme.whole_numbers(axes)
    if len(frames.seeds) > 1:
        many = f"{len(frames.seeds)} {frames.repeats}"
        for line in (line for axes in grid.axes.flat for line in axes.lines):
            line.set_label(f"{line.get_label()}, mean of {many}")
        grid.axes[0, 0].fill_between([], [], color=theme.GREY, label=f"lowest to highest of {many}", **BAND)
    theme.shared_legend(grid.figure)
    return grid.figure
