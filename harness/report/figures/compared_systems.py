"""mAP by system with its seeds, and how the differences between systems go with training length."""

from __future__ import annotations

import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from harness.config.systems import LINEAR_BASELINE
from harness.report.answers import by_epoch, systems
from harness.report.figures import theme
from harness.report.frames import Frames

BAND = {"alpha": 0.2, "linewidth": 0}


def system_scores(frames: Frames) -> Figure:
    """A panel a backbone, a line a system: a dot a seed, and the mean with its 95% interval over seeds."""
    found, runs = systems(frames), frames.runs[frames.runs.model != LINEAR_BASELINE]
    colours = theme.colours(found.method)
    most = found.groupby("backbone").size().max()
    grid = theme.facets(found, 0.95 + 0.3 * most, col="backbone", sharey=False)
    right = 105 * max(frames.runs.mAP.max(), found.high.max() / 100)
    for backbone, axes in grid.axes_dict.items():
        here = found[found.backbone == backbone].reset_index(drop=True)
        for place, one in here.iterrows():
            maps = 100 * runs.mAP[runs.model == one.model]
            look = {"color": colours[one.method], "zorder": 3}
            axes.scatter(maps, [place] * len(maps), s=14, facecolor="none", linewidth=0.9, edgecolor=look["color"])
            arms = [[one["mean"] - one.low], [one.high - one["mean"]]] if pd.notna(one.low) else None
            axes.errorbar([one["mean"]], [place], xerr=arms, marker="|", ms=11, capsize=3, elinewidth=1.4, **look)
        axes.set_yticks(range(len(here)), here.method)
        axes.set(ylim=(len(here) - 0.5, -0.5), xlim=(0, right), xlabel="test mAP (%)", ylabel="")
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="y", visible=False)
        lines = {"logistic regression": (frames.maps_of(LINEAR_BASELINE).mean(), "--"), "chance": (frames.chance, ":")}
        for name, (height, style) in lines.items():
            if pd.notna(height):
                axes.axvline(height, color=theme.GREY, linewidth=1.0, linestyle=style, label=name, zorder=0.5)
    theme.shared_legend(grid.figure, "lower center")
    return grid.figure


def differences_by_epoch(frames: Frames) -> Figure | None:
    """A row a backbone, a column a question: the difference at equal epochs, mean over seeds in a band of all of them.

    None where no two systems were trained here for more than one epoch.
    """
    found = by_epoch(frames)
    if found.empty or found.epoch.nunique() < 2:
        return None
    layout = {"row": "backbone", "col": "question", "sharex": False}
    grid = theme.facets(found, 0.5 + 1.45 * found.backbone.nunique(), **layout)
    grid.map_dataframe(_curve)
    for (_, question), axes in grid.axes_dict.items():
        axes.axhline(0, color=theme.GREY, linewidth=0.8, zorder=0.5)
        theme.whole_numbers(axes)
        axes.set_title(question.replace(" - ", "\n\N{MINUS SIGN} ") if axes in grid.axes[0] else "", fontsize=7)
    grid.set_axis_labels("epoch", "")
    theme.label_rows(grid, (f"{backbone}\n(points)" for backbone in grid.row_names))
    return grid.figure


def _curve(data: pd.DataFrame, **_: object) -> None:
    line = {"x": "epoch", "y": "difference", "color": theme.DCLS, "errorbar": ("pi", 100), "err_kws": BAND}
    sns.lineplot(data, ax=plt.gca(), **line)
