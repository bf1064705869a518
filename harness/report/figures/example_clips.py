"""Log-mels of a few test clips, and what the models find in them."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from harness.audio.units import MEL_BANDS, band_centres
from harness.records.schemas import Example
from harness.report.figures import theme
from harness.report.frames import Frames

SHOWN = 3  # classes of a model
LONGEST = 18  # characters of a class name
TICKS_HZ = (200, 1000, 4000, 12000)


def example_clips(frames: Frames) -> Figure | None:
    """A row a clip: its log-mel, then for each backbone the highest scores of the baseline and, below, of DCLS.

    None where no examples were recorded.
    """
    clips, mains = frames.examples, {one for main in frames.main.values() for one in (main, frames.baseline(main))}
    few = {  # the main DCLS models and their baselines, or all models of a backbone without them
        backbone: [name for name in models if name in mains or backbone not in frames.main]
        for backbone, models in frames.by_backbone.items()
    }
    recorded = clips[0].predictions if clips else {}
    shown = {backbone: here for backbone, some in few.items() if (here := [name for name in some if name in recorded])}
    if not shown:
        return None
    models, palette = [name for some in shown.values() for name in some], theme.of_methods(frames)
    colours = {name: palette[frames.method(name)] for name in models}
    figure = Figure(figsize=(theme.TWO_COLUMNS, 0.7 + 1.35 * len(clips)), layout="constrained")
    panels = figure.subplots(len(clips), 1 + len(shown), squeeze=False)
    highest = max(float(one["score"]) for clip in clips for name in models for one in clip.predictions[name])
    for row, clip in zip(panels, clips, strict=True):
        _log_mel(row[0], clip.log_mel)
        row[0].set_title(", ".join(theme.shortened(one, LONGEST) for one in clip.labels), fontsize=8, pad=3)
        for axes, some in zip(row[1:], shown.values(), strict=True):
            _scores(axes, clip, {name: colours[name] for name in some})
            axes.set_xlim(0, min(1.0, 1.1 * highest))
    for axes, backbone in zip(panels[0, 1:], shown, strict=True):
        axes.set_title(backbone)
    for axes, label in zip(panels[-1], ["time (ms)", *("score" for _ in shown)], strict=True):
        axes.set_xlabel(label)
    methods = dict.fromkeys(frames.method(one) for one in models)
    handles = [Patch(color=palette[one], label=f"{one}, class in the clip") for one in methods]
    handles.append(Patch(facecolor="white", edgecolor=theme.GREY, label="class not in the clip"))
    figure.legend(handles=handles, loc="outside upper center", ncols=3)
    return figure


def _log_mel(axes: Axes, log_mel: dict[str, Any]) -> None:
    """Bands upwards with ticks in Hz, time to the right."""
    steps = np.frombuffer(base64.b64decode(log_mel["values"]), np.uint8).reshape(log_mel["bands"], log_mel["frames"])
    edges = (0, 1000 * log_mel["seconds"], -0.5, MEL_BANDS - 0.5)
    axes.imshow(steps, origin="lower", extent=edges, cmap="magma", aspect="auto", interpolation="none")
    axes.grid(False)
    ticks = [np.interp(hz, band_centres(), range(MEL_BANDS)) for hz in TICKS_HZ]
    axes.set_yticks(ticks, [f"{hz:g}" for hz in TICKS_HZ])
    axes.set_ylabel("Hz")


def _scores(axes: Axes, clip: Example, models: dict[str, str]) -> None:
    """A bar a class, the highest of each model on top; filled where the clip has the class."""
    names, places = [], []
    for position, (model, colour) in enumerate(models.items()):
        for place, one in enumerate(clip.predictions[model][:SHOWN], start=position * (SHOWN + 1)):
            face = colour if one["label"] in clip.labels else "white"
            axes.barh(place, one["score"], color=face, edgecolor=colour, height=0.7, linewidth=0.8)
            names.append(theme.shortened(str(one["label"]), LONGEST))
            places.append(place)
    theme.categories(axes, names, places, fontsize=6)
    axes.invert_yaxis()
