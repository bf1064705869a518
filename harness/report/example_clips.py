"""Log-mels of a few test clips, and what baseline and DCLS find in them."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from harness.audio.units import MEL_BANDS, band_centres
from harness.base import paths
from harness.base.errors import UserError
from harness.base.files import read_json
from harness.config.systems import baseline_of, method_of
from harness.report import style
from harness.report.load import Results

SHOWN = 4  # classes of a model
LONGEST = 20  # characters of a class name
TICKS_HZ = (200, 1000, 4000, 12000)


def example_clips(results: Results, model: str) -> Figure | None:
    """A row a clip: its log-mel, then the highest scores of the baseline and of DCLS, where both are there.

    None where no examples were recorded, or not of this model. Raises UserError where examples.json is no such file.
    """
    path = paths.results(results.preset) / "examples" / "examples.json"
    if not path.exists():
        return None
    try:
        clips = read_json(path)["clips"]
        models = [one for one in dict.fromkeys((baseline_of(model), model)) if one in clips[0]["predictions"]]
        return _drawn(clips, models) if model in models else None
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise UserError(f"{path}: {error!r} is not as it should be; run `examples` again") from error


def _drawn(clips: list[dict[str, Any]], models: list[str]) -> Figure:
    figure = Figure(figsize=(style.DOUBLE, 0.45 + 1.25 * len(clips)), layout="constrained")
    panels = figure.subplots(len(clips), 1 + len(models), squeeze=False, width_ratios=[1.3, *(1.0 for _ in models)])
    highest = max(one["score"] for clip in clips for name in models for one in clip["predictions"][name])
    for row, clip in zip(panels, clips, strict=True):
        _log_mel(row[0], clip["log_mel"])
        row[0].set_title(", ".join(map(_short, clip["labels"])), fontsize=8, pad=3)
        for axes, name in zip(row[1:], models, strict=True):
            _scores(axes, clip["predictions"][name][:SHOWN], clip["labels"], style.colour(name))
            axes.set_xlim(0, min(1.0, 1.1 * highest))
    panels[-1, 0].set_xlabel("time (ms)")
    for axes in panels[-1, 1:]:
        axes.set_xlabel("score")
    handles = [Patch(color=style.colour(name), label=f"{method_of(name)}: score") for name in models]
    handles.append(Patch(facecolor="white", edgecolor=style.GREY, label="of a class that is not there"))
    figure.legend(handles=handles, loc="outside upper center", ncols=3)
    return figure


def _log_mel(axes: Axes, log_mel: dict[str, Any]) -> None:
    """Bands upwards with ticks in Hz, time to the right."""
    steps = np.frombuffer(base64.b64decode(log_mel["values"]), np.uint8).reshape(log_mel["bands"], log_mel["frames"])
    edges = (0, 1000 * log_mel["seconds"], -0.5, MEL_BANDS - 0.5)
    axes.imshow(steps, origin="lower", extent=edges, cmap="magma", aspect="auto", interpolation="none")
    axes.grid(False)
    axes.set_yticks(
        [np.interp(hz, band_centres(), range(MEL_BANDS)) for hz in TICKS_HZ], [f"{hz:g}" for hz in TICKS_HZ]
    )
    axes.set_ylabel("Hz")


def _scores(axes: Axes, found: list[dict[str, Any]], labels: list[str], colour: str) -> None:
    """A bar a class, highest on top; filled where the clip has it."""
    for place, one in enumerate(found):
        filled = colour if one["label"] in labels else "white"
        axes.barh(place, one["score"], color=filled, edgecolor=colour, height=0.7, linewidth=0.8)
    axes.set_yticks(range(len(found)), [_short(one["label"]) for one in found])
    axes.set_ylim(len(found) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)


def _short(label: str) -> str:
    return label if len(label) <= LONGEST else f"{label[: LONGEST - 3].rstrip(' ,')}..."
