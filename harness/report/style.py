"""How all figures look, and how they are written: the same inputs give the same bytes."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

from harness.base.files import write_bytes
from harness.config.systems import is_dcls

BASELINE, DCLS = "#0072B2", "#D55E00"  # blue and vermillion of Okabe and Ito: told apart by the colour-blind
GREY, LIGHT = "#595959", "#D9D9D9"
BAND = 0.25  # opacity of a band around a line
MARKERS = {"convformer": "o", "fastvit": "s", "convnext": "^"}
SINGLE, DOUBLE = 3.5, 7.0  # inches, the columns of most journals
WIDTH = DOUBLE
DPI = 300
SCREEN_DPI = 120  # of animations
RC: Any = {  # matplotlib types its keys one by one
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that pictures are the same everywhere
    "font.size": 8,  # points, as captions have
    "axes.titlesize": 9,
    "axes.labelsize": 8,
    "axes.linewidth": 0.6,
    "axes.edgecolor": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LIGHT,
    "grid.linewidth": 0.5,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.5,
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
            written = content.getvalue() if suffix == "png" else with_numbered_clips(content.getvalue())
            write_bytes(path.with_name(f"{path.name}.{suffix}"), written)
            drawn.set_layout_engine("none")  # keeps the places that it has given, which take most of the time
    return True


def with_numbered_clips(svg: bytes) -> bytes:
    """The same picture, its clip paths named in their order.

    Matplotlib names them by their bounds, of which the last bit is now and then another where it lays axes out.
    """
    numbers: dict[bytes, int] = {}
    name = rb'(?<=[#"])p[0-9a-f]{10}(?=[")])'
    return re.sub(name, lambda found: b"clip%d" % numbers.setdefault(found[0], len(numbers) + 1), svg)


def animate(path: Path, frames: Callable[[], list[Figure]]) -> bool:
    """Call `frames` in the house style; write the figures, one a second, as `path`.gif. False where there are none."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(RC)
        drawn = []
        for figure in frames():
            content = io.BytesIO()
            figure.savefig(content, format="png", dpi=SCREEN_DPI)
            drawn.append(Image.open(content).convert("P", palette=Image.Palette.ADAPTIVE, colors=128))
    if not drawn:
        return False
    content = io.BytesIO()
    pauses = [1000] * (len(drawn) - 1) + [2500]  # milliseconds
    drawn[0].save(content, "GIF", save_all=True, append_images=drawn[1:], duration=pauses, loop=0, optimize=False)
    write_bytes(path.with_name(f"{path.name}.gif"), content.getvalue())
    return True


def whole_numbers(axes: Axes) -> None:
    """Ticks of the x axis at whole numbers only: epochs."""
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
