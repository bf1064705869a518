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
BAND = {"alpha": 0.2, "linewidth": 0}


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
    """A column a backbone: the difference of the validation mAPs at equal epochs, mean over seeds in its 95% interval;
    above of all systems to their baselines, below of the main one to the others. Fair pairs alone.

    None where there is no such pair, or less than two seeds.
    """
    found = _differences(frames)
    if found.empty:
        return None
    palette, rows = theme.of_methods(frames), list(dict.fromkeys(found["row"]))
    layout = {"row": "row", "col": "backbone", "hue": "method", "palette": palette}
    grid = theme.facets(found, 0.9 + 1.7 * len(rows), sharex="col", sharey="row", **layout)
    grid.map_dataframe(_band)
    theme.label_rows(grid, [f"{row}\n(points)" for row in rows])
    for axes in grid.axes.flat:
        axes.axhline(0, color=theme.GREY, linewidth=0.9, zorder=0.5)
    for axes in grid.axes[-1]:
        axes.set_xlabel("epoch")
        theme.whole_numbers(axes)
    theme.shared_legend(grid.figure, order=palette)
    return grid.figure


def _differences(frames: Frames) -> pd.DataFrame:
    """A row a fair pair and epoch: `row` it belongs to, `method` whose colour it has, `mean`, `low` and `high`."""
    maps = _histories(frames).set_index(["model", "seed", "epoch"]).val_mAP_percent
    found, main, known = [], set(frames.main.values()), set(maps.index.unique("model")) if len(maps) else set()
    for pair in frames.comparisons[frames.comparisons.unfair == ""].itertuples():
        if not {pair.model, pair.baseline} <= known or len(frames.seeds) < 2:
            continue
        to_baseline, other = pair.baseline == frames.baseline(pair.model), frames.systems[pair.baseline].method
        if not to_baseline and pair.model not in main:
            continue
        by_seed = (maps[pair.model] - maps[pair.baseline]).unstack("seed").dropna()
        row = f"system \N{MINUS SIGN} {other}" if to_baseline else f"{pair.method} \N{MINUS SIGN} other"
        for epoch, one in by_seed.iterrows():
            low, high = seed_interval(one.mean(), one.std(), len(one))
            method = pair.method if to_baseline else other
            found.append((pair.backbone, row, method, epoch, one.mean(), low, high))
    return pd.DataFrame(found, columns=["backbone", "row", "method", "epoch", "mean", "low", "high"])


def _band(data: pd.DataFrame, color: Any, label: str) -> None:
    axes, data = plt.gca(), data.sort_values("epoch")
    axes.fill_between(data.epoch, data.low, data.high, color=color, **BAND)
    axes.plot(data.epoch, data["mean"], color=color, label=label)


def _histories(frames: Frames) -> pd.DataFrame:
    """Of the epochs that all seeds have."""
    histories = frames.histories.assign(val_mAP_percent=100 * frames.histories.val_mAP)
    seeds = histories.groupby(["model", "epoch"]).seed.transform("nunique")
    return histories[seeds == len(frames.seeds)]
