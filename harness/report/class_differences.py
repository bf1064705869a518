"""Average precision class by class: DCLS minus baseline, sorted, with paired intervals."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from harness.base import paths
from harness.base.errors import UserError
from harness.report import style
from harness.report.load import Results, read_rows

VALUES = ("difference", "low", "high")
MOST = 40  # classes shown in a panel; of more, the two ends
LONGEST = 22  # characters of a class name
ABOVE, BELOW, NEITHER = "interval above 0", "interval below 0", "interval takes in 0, or none"
MARKS = {ABOVE: ("o", style.DCLS), BELOW: ("s", style.BASELINE), NEITHER: ("o", style.GREY)}


@dataclass(frozen=True)
class ClassDifference:
    """A class's difference in average precision, in percentage points; no interval where its positives are few."""

    label: str
    difference: float
    low: float | None
    high: float | None

    @property
    def side(self) -> str:
        if self.low is not None and self.low > 0:
            return ABOVE
        if self.high is not None and self.high < 0:
            return BELOW
        return NEITHER


def class_differences(results: Results) -> Figure | None:
    """A panel a backbone, the best class on top.

    None where no DCLS model has its baseline. Raises UserError where per_class_difference.csv is missing or no such
    file.
    """
    if not results.compared:
        return None
    by_model = read_differences(paths.results(results.preset) / "per_class_difference.csv", tuple(results.compared))
    longest = max(min(len(found), MOST + 1) for found in by_model.values())
    width = style.DOUBLE if len(by_model) > 1 else style.SINGLE
    figure = Figure(figsize=(width, 1.1 + 0.14 * max(longest, 5)), layout="constrained")
    panels = figure.subplots(1, len(by_model), sharex=True, squeeze=False)[0]
    for axes, (model, found) in zip(panels, by_model.items(), strict=True):
        _panel(axes, found)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=4 if len(by_model) > 1 else 8))
        axes.set_title(results.published[model].backbone)
    figure.supxlabel("average precision, DCLS - baseline (percentage points)", fontsize=8)
    handles = [_handle(side) for side in MARKS]
    figure.legend(handles=handles, loc="outside upper center", ncols=3)
    return figure


def read_differences(path: Path, models: tuple[str, ...]) -> dict[str, list[ClassDifference]]:
    """The scored classes of each model, largest difference first, ties in the order of the labels.

    Raises UserError, naming the file, where it is missing, lacks a model or a column, or holds no numbers.
    """
    found: dict[str, list[ClassDifference]] = {model: [] for model in models}
    try:
        for row in read_rows(path):
            if row["model"] in found and row["difference"]:
                difference, low, high = (100 * float(row[name]) if row[name] else None for name in VALUES)
                found[row["model"]].append(ClassDifference(row["label"], difference or 0.0, low, high))
    except (KeyError, ValueError) as error:
        raise UserError(f"{path}: {error}; delete it and run its stage again") from error
    for model, classes in found.items():
        if not classes:
            raise UserError(f"{path}: no row of {model}; run `compare-models` again")
    return {model: sorted(classes, key=lambda one: -one.difference) for model, classes in found.items()}


def _panel(axes: Axes, found: list[ClassDifference]) -> None:
    """A line a class from the top; where there are too many, the two ends, and between them how many are left out."""
    half = MOST // 2
    shown: list[ClassDifference | None] = list(found)
    if len(found) > MOST:
        shown = [*found[:half], None, *found[-half:]]
    names = []
    for place, one in enumerate(shown):
        if one is None:
            names.append(f"... {len(found) - 2 * half} between ...")
            continue
        names.append(one.label if len(one.label) <= LONGEST else f"{one.label[: LONGEST - 3].rstrip(' ,')}...")
        shape, colour = MARKS[one.side]
        if one.low is not None and one.high is not None:
            axes.plot([one.low, one.high], [place, place], color=colour, linewidth=1.1, solid_capstyle="butt")
        filled = colour if one.side != NEITHER else "white"
        axes.plot(one.difference, place, shape, color=colour, markerfacecolor=filled, markersize=3, zorder=3)
    axes.axvline(0, color=style.GREY, linewidth=1.0, zorder=0.5)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_yticks(range(len(shown)), names, fontsize=7)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
    sides = [one.side for one in found]
    axes.set_xlabel(f"{sides.count(ABOVE)} above 0, {sides.count(BELOW)} below\nof {len(found)} classes", fontsize=7)


def _handle(side: str) -> Line2D:
    shape, colour = MARKS[side]
    filled = colour if side != NEITHER else "white"
    return Line2D([], [], color=colour, marker=shape, markerfacecolor=filled, markersize=3.5, linewidth=1.1, label=side)
