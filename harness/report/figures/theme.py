"""How all figures look, and how they are written: the same numbers give the same bytes."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from PIL import Image

from harness.base.files import write_bytes

BASELINE, DCLS = "#0072B2", "#D55E00"  # blue and vermillion of Okabe and Ito: told apart by the colour-blind
COLOURS = {"baseline": BASELINE, "DCLS": DCLS}
GREY, LIGHT = "#595959", "#D9D9D9"
MARKERS = {"ConvFormer-S18": "o", "FastViT-SA24": "s", "ConvNeXt-T": "^"}
METADATA: dict[str, Any] = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}  # else the bytes differ
ONE_COLUMN, TWO_COLUMNS = 3.5, 7.0  # inches, the columns of most journals
COLOURS_IN_PNG = 128
DPI, SCREEN_DPI = 300, 120  # of pictures and of animations
RC: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that pictures are the same everywhere
    "font.size": 8,  # points, as captions have
    "axes.titlesize": 9,
    "axes.labelsize": 8,
    "axes.linewidth": 0.6,
    "axes.edgecolor": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": LIGHT,
    "grid.linewidth": 0.5,
    "xtick.bottom": True,
    "ytick.left": True,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "xtick.minor.size": 1.5,
    "ytick.minor.size": 1.5,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.5,
    "svg.hashsalt": "dcls",  # names of SVG elements are random without it
}


@contextmanager
def theme() -> Iterator[None]:
    """The project's seaborn theme, whatever the user's own matplotlibrc says."""
    matplotlib.use("agg")
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        sns.set_theme("paper", "whitegrid", list(COLOURS.values()), color_codes=False, rc=RC)
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
    written = _few_colours(content) if suffix == "png" else content.getvalue()
    write_bytes(path.with_name(f"{path.name}.{suffix}"), written)
    return True


def _few_colours(png: io.BytesIO) -> bytes:
    """The same picture with a palette: a third of the bytes, of which Git and the page hold many."""
    smaller = io.BytesIO()
    image = Image.open(png).convert("RGB").quantize(COLOURS_IN_PNG, dither=Image.Dither.NONE)
    image.save(smaller, "PNG", dpi=(DPI, DPI), optimize=True)
    return smaller.getvalue()


def save_animation(path: Path, draw: Callable[[], list[Figure]]) -> bool:
    """Draw in the theme and write the figures as `path`.gif, one a second. False where there are none."""
    images = []
    with theme():
        for figure in draw():
            content = io.BytesIO()
            figure.savefig(content, format="png", dpi=SCREEN_DPI)
            images.append(Image.open(content).convert("P", palette=Image.Palette.ADAPTIVE, colors=COLOURS_IN_PNG))
            plt.close(figure)
    if not images:
        return False
    content = io.BytesIO()
    pauses = [1000] * (len(images) - 1) + [2500]  # milliseconds
    images[0].save(content, "GIF", save_all=True, append_images=images[1:], duration=pauses, loop=0, optimize=False)
    write_bytes(path.with_name(f"{path.name}.gif"), content.getvalue())
    return True


def facets(data: pd.DataFrame, height: float, **layout: Any) -> sns.FacetGrid:
    """A grid of panels over `data`, as wide as the page where it has more than one column; `height` is of all, in
    inches. Colours are those of `method` where `hue` is."""
    if layout.get("hue") == "method":
        layout |= {"palette": COLOURS, "hue_order": [one for one in COLOURS if one in set(data.method)]}
    rows, columns = (data[layout[name]].nunique() if name in layout else 1 for name in ("row", "col"))
    width = TWO_COLUMNS if columns > 1 else ONE_COLUMN
    grid = sns.FacetGrid(data, height=height / rows, aspect=(width / columns) / (height / rows), **layout)
    grid.figure.set_layout_engine("constrained")
    grid.tight_layout = lambda *_, **__: grid  # which would take the place of the constrained layout
    for axes in grid.axes.flat:
        axes.set_title("")
    if "col" in layout:
        for axes, name in zip(grid.axes[0], grid.col_names, strict=True):
            axes.set_title(str(name))
    return grid


def label_rows(grid: sns.FacetGrid, labels: Iterable[str]) -> None:
    """The y label of each row, beside its first panel."""
    for axes, label in zip(grid.axes[:, 0], labels, strict=True):
        axes.set_ylabel(label)
    grid.figure.align_ylabels(grid.axes[:, 0])


def whole_numbers(axes: Axes) -> None:
    """Ticks of the x axis at whole numbers only: epochs."""
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))


def legend_of(data: pd.DataFrame) -> list[Artist]:
    """Colours of the methods and shapes of the backbones in `data`."""
    methods = [one for one in COLOURS if one in set(data.method)]
    backbones = [one for one in MARKERS if one in set(data.backbone)]
    return [
        *(Line2D([], [], color=COLOURS[one], linewidth=4, label=one) for one in methods),
        *(Line2D([], [], color=GREY, marker=MARKERS[one], markersize=5, ls="", label=one) for one in backbones),
    ]
