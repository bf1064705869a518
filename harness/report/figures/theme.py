"""How all figures look, and how they are written: the same numbers give the same bytes."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

from harness.base.files import write_bytes
from harness.config.systems import LINEAR_BASELINE, System
from harness.report.frames import Frames

BASELINE, DCLS, GREY = "#0072B2", "#D55E00", "#595959"  # blue and vermillion of Okabe and Ito, for the colour-blind
FURTHER = ("#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")  # the others of theirs, for further systems
STAGES = ("#440154", "#31688E", "#35B779", "#B8860B", "#7F7F7F")  # from dark to light
OUTSIDE = "#D9D9D9"  # cells of a kernel outside every feature map
MARKERS = {"ConvFormer-S18": "o", "FastViT-SA24": "s", "ConvNeXt-T": "^"}
ONE_COLUMN, TWO_COLUMNS = 3.5, 7.0  # inches, the columns of most journals
DPI = 300
COLOURS_IN_PNG = 128
METADATA: dict[str, Any] = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}  # else the bytes differ
TICKS = {"color": GREY, "labelsize": 7, "major.width": 0.6, "major.size": 3, "minor.width": 0.4, "minor.size": 1.5}
RC: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that pictures are the same everywhere
    "svg.hashsalt": "dcls",  # names of SVG elements are random without it
    **dict.fromkeys(("font.size", "axes.labelsize", "legend.fontsize"), 8),  # points, as captions have
    **dict.fromkeys(("axes.spines.top", "axes.spines.right", "legend.frameon"), False),
    **dict.fromkeys(("xtick.bottom", "ytick.left"), True),
    **{f"{axis}tick.{name}": value for axis in "xy" for name, value in TICKS.items()},
    **{"axes.titlesize": 9, "axes.linewidth": 0.6, "axes.edgecolor": GREY},
    **{"grid.color": "#D9D9D9", "grid.linewidth": 0.5, "lines.linewidth": 1.5},
}


def of_methods(frames: Frames) -> dict[str, str]:
    """Colours of systems by label, in the order of the parameters."""
    return _palette(frames, lambda system: system.method)


def of_convolutions(frames: Frames) -> dict[str, str]:
    """Colours of full-size models by their convolution."""
    return _palette(frames, lambda system: system.model.convolution)


def _palette(frames: Frames, name: Callable[[System], str]) -> dict[str, str]:
    """Blue for the first baseline and vermillion for the first main DCLS system, whatever else there is."""
    systems, further = list(frames.systems.values()), cycle(FURTHER)
    plain = [name(one) for one in systems if not one.is_dcls]
    mains = [name(frames.systems[one]) for one in frames.main.values()]
    fixed = dict.fromkeys(plain[:1], BASELINE) | dict.fromkeys(mains[:1], DCLS)
    return {label: fixed.get(label) or next(further) for label in dict.fromkeys(map(name, systems))}


@contextmanager
def theme() -> Iterator[None]:
    """The project's seaborn theme, whatever the user's own matplotlibrc says."""
    matplotlib.use("agg")
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        sns.set_theme("paper", "whitegrid", [BASELINE, DCLS, *FURTHER], color_codes=False, rc=RC)
        yield


def save(path: Path, draw: Callable[[], Figure | None], suffix: str = "png") -> bool:
    """Draw in the theme and write the figure as `path`.png, .svg or .pdf. False where there is nothing to draw."""
    with theme():
        figure = draw()
        if figure is None:
            return False
        content = io.BytesIO()
        figure.savefig(content, format=suffix, dpi=DPI, metadata=METADATA[suffix])
        plt.close(figure)
    if suffix == "png":  # with a palette it has a third of the bytes, of which Git and the page hold many
        image = Image.open(content).convert("RGB").quantize(COLOURS_IN_PNG, dither=Image.Dither.NONE)
        content = io.BytesIO()
        image.save(content, "PNG", dpi=(DPI, DPI), optimize=True)
    write_bytes(path.with_name(f"{path.name}.{suffix}"), content.getvalue())
    return True


def facets(data: pd.DataFrame, height: float, **layout: Any) -> sns.FacetGrid:
    """A grid of panels over `data`, as wide as the page where it has more than one column; `height` is of all, in
    inches. The order of a `palette` is that of the hues."""
    if "palette" in layout:
        layout |= {"hue_order": [one for one in layout["palette"] if one in set(data[layout["hue"]])]}
    rows, columns = (data[layout[name]].nunique() if name in layout else 1 for name in ("row", "col"))
    width = TWO_COLUMNS if columns > 1 else ONE_COLUMN
    grid = sns.FacetGrid(data, height=height / rows, aspect=(width / columns) / (height / rows), **layout)
    grid.figure.set_layout_engine("constrained")
    grid.tight_layout = lambda *_, **__: grid  # which would take the place of the constrained layout
    for axes in grid.axes.flat:
        axes.set_title("")
    for axes, name in zip(grid.axes[0], grid.col_names, strict=False):
        axes.set_title(str(name))
    return grid


def label_rows(grid: sns.FacetGrid, labels: Iterable[str]) -> None:
    """The y label of each row, beside its first panel."""
    for axes, label in zip(grid.axes[:, 0], labels, strict=True):
        axes.set_ylabel(label)
    grid.figure.align_ylabels(grid.axes[:, 0])


def shared_legend(figure: Figure, place: str = "upper center", columns: int = 4, order: Iterable[str] = ()) -> None:
    """One legend outside the panels, each label once: first those in `order`, then in order of appearance."""
    found = {label: one for axes in figure.axes for one, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    labels = [*(one for one in order if one in found), *(one for one in found if one not in {*order})]
    where: Any = f"outside {place}"
    figure.legend([found[one] for one in labels], labels, loc=where, ncols=columns)


def whole_numbers(axes: Axes) -> None:
    """Ticks of the x axis at whole numbers only: epochs."""
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))


def categories(axes: Axes, names: Sequence[str], places: Iterable[float] | None = None, **text: Any) -> None:
    """Names at the y axis, from the top unless `places` says where."""
    axes.set_yticks(range(len(names)) if places is None else [*places], names, **text)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)


def shortened(name: str, longest: int) -> str:
    """A class's name in at most so many characters."""
    return name if len(name) <= longest else f"{name[: longest - 3].rstrip(' ,')}..."


def held_against(frames: Frames) -> list[tuple[str, pd.Series, str]]:
    """What systems are held against: name, test mAPs in percent and style of the line of their mean."""
    linear = frames.maps_of(LINEAR_BASELINE)
    found = [("logistic regression", linear, "--")] if len(linear) else []
    return [*found, ("chance", pd.Series([frames.chance]), ":")]


def minus(pair: Any) -> str:
    """The name of a row of `Frames.points`, in two lines."""
    return f"{pair.method}\n\N{MINUS SIGN} {pair.baseline_method}"
