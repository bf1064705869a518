"""Learning curves, and how the differences between systems go with the length of training."""

from __future__ import annotations

from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from harness.report.decisions import seed_interval
from harness.report.figures import theme
from harness.report.frames import Frames

MEASURES = {"train_loss": "training loss\n(binary cross-entropy)", "val_mAP_percent": "validation mAP (%)"}
BAND: dict[str, Any] = {"alpha": 0.2, "linewidth": 0}


def learning_curves(frames: Frames) -> Figure | None:
    """A column a backbone, loss above mAP: the mean over seeds, in a band from the lowest seed to the highest.

    Epochs that some seed lacks are left out. None where nothing was trained here.
    """
    histories = _histories(frames)
    if histories.empty:
        return None
    curves = histories.melt(["backbone", "method", "epoch"], list(MEASURES), "measure")
    palette = theme.of_methods(frames)
    layout = {"row": "measure", "col": "backbone", "hue": "method", "palette": palette}
    grid = theme.facets(curves, 3.9, sharex="col", sharey="row", **layout)
    dots = "o" if curves.groupby(["backbone", "method"]).epoch.nunique().min() == 1 else ""  # a line of one point
    grid.map_dataframe(sns.lineplot, x="epoch", y="value", marker=dots, errorbar=("pi", 100), err_kws=BAND)
    theme.label_rows(grid, MEASURES.values())
    for axes in grid.axes[-1]:
        axes.set_xlabel("epoch")
        theme.whole_numbers(axes)
    theme.shared_legend(grid.figure, order=palette)
    return grid.figure


def differences_by_epoch(frames: Frames) -> Figure | None:
    """A row a comparison, those of the main systems first, a column a backbone: the difference of the validation mAPs
    at equal epochs, mean over seeds in its 95% interval. Fair pairs alone.

    None where there is no such pair, or less than two seeds.
    """
    found = _differences(frames)
    if found.empty:
        return None
    palette, rows = theme.of_methods(frames), list(dict.fromkeys(found["row"]))
    layout = {"row": "row", "row_order": rows, "col": "backbone", "col_order": list(dict.fromkeys(found.backbone))}
    grid = theme.facets(found, 0.7 + 1.05 * len(rows), sharex="col", sharey="row", **layout)
    grid.map_dataframe(_band, palette=palette)
    theme.label_rows(grid, rows)
    for axes in grid.axes.flat:
        if not axes.lines:
            axes.text(0.5, 0.5, "no such pair", transform=axes.transAxes, ha="center", color=theme.GREY, fontsize=7)
        axes.axhline(0, color=theme.GREY, linewidth=0.9, zorder=0.5)
        axes.yaxis.label.set_fontsize(7)
    for axes in grid.axes[-1]:
        theme.whole_numbers(axes)
    grid.figure.supxlabel("epoch", fontsize=8)
    grid.figure.supylabel("difference in validation mAP (percentage points)", fontsize=8)
    return grid.figure


def _differences(frames: Frames) -> pd.DataFrame:
    """A row a fair pair and epoch: `row` that it belongs to, `mean`, `low` and `high`."""
    maps = _histories(frames).set_index(["model", "seed", "epoch"]).val_mAP_percent
    found, known = [], set(maps.index.unique("model"))
    fair = frames.comparisons[frames.comparisons.unfair == ""]
    first = fair.assign(other=~fair.model.isin(frames.main.values())).sort_values("other", kind="stable")
    for pair in first.itertuples():
        if not {pair.model, pair.baseline} <= known or len(frames.seeds) < 2:
            continue
        by_seed = (maps[pair.model] - maps[pair.baseline]).unstack("seed").dropna()
        row = f"{pair.method}\n\N{MINUS SIGN} {frames.systems[pair.baseline].method}"
        for epoch, one in by_seed.iterrows():
            interval = seed_interval(one.mean(), one.std(), len(one))
            found.append((pair.backbone, row, pair.method, epoch, one.mean(), *interval))
    return pd.DataFrame(found, columns=["backbone", "row", "method", "epoch", "mean", "low", "high"])


def _band(data: pd.DataFrame, palette: dict[str, str], **_: object) -> None:
    axes, color = plt.gca(), palette[data.method.iloc[0]]
    axes.fill_between(data.epoch, data.low, data.high, color=color, **BAND)
    axes.plot(data.epoch, data["mean"], color=color)


def _histories(frames: Frames) -> pd.DataFrame:
    """Of the epochs that all seeds have."""
    histories = frames.histories.assign(val_mAP_percent=100 * frames.histories.val_mAP)
    seeds = histories.groupby(["model", "epoch"]).seed.transform("nunique")
    return histories[seeds == len(frames.seeds)]
