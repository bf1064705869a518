"""How all figures look, and how they are written: the same inputs give the same bytes."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from harness.files import write_bytes
from harness.systems import is_dcls, method_of

BASELINE, DCLS = "#0072B2", "#D55E00"  # blue and vermillion of Okabe and Ito: told apart by the colour-blind
GREY, LIGHT = "#595959", "#D9D9D9"
method = method_of
MARKERS = {"convformer": "o", "fastvit": "s", "convnext": "^"}
WIDTH = 9.0  # inches: at a README's width the text is about as large as the page's
DPI = 150
RC: Any = {  # matplotlib types its keys one by one
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that pictures are the same everywhere
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.labelsize": 11,
    "axes.edgecolor": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LIGHT,
    "grid.linewidth": 0.6,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "legend.frameon": False,
    "legend.fontsize": 10.5,
    "lines.linewidth": 2.0,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.hashsalt": "dcls",  # names of SVG elements are random without it
}


def colour(model: str) -> str:
    return DCLS if is_dcls(model) else BASELINE


def marker(model: str) -> str:
    return MARKERS[model.split("_")[0]]


def draw(path: Path, figure: Callable[[], Figure | None]) -> bool:
    """Call `figure` in the house style; write what it returns as `path`.png and `path`.svg, without dates.

    False where there is nothing to draw.
    """
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # whatever the user's own matplotlibrc says
        matplotlib.rcParams.update(RC)
        drawn = figure()
        if drawn is None:
            return False
        for suffix, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
            content = io.BytesIO()
            drawn.savefig(content, format=suffix, dpi=DPI, metadata=metadata)
            write_bytes(path.with_name(f"{path.name}.{suffix}"), content.getvalue())
    return True


def whole_numbers(axes: Axes) -> None:
    """Ticks of the x axis at whole numbers only: epochs."""
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
