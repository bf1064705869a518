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
from harness.report.examples import recorded_examples
from harness.report.figures import theme
from harness.report.frames import Frames

SHOWN = 3  # classes of a model
LONGEST = 18  # characters of a class name
TICKS_HZ = (200, 1000, 4000, 12000)


def example_clips(frames: Frames) -> Figure | None:
    """A row a clip: its log-mel, then for each backbone the highest scores of the baseline and, below, of DCLS.

    None where no examples were recorded.
    """
    clips = recorded_examples(frames)
    models = [one for one in _few(frames) if clips and one in clips[0].predictions]
    if not models:
        return None
    backbones, palette = list(dict.fromkeys(map(frames.backbone, models))), theme.of_methods(frames)
    colours = {one: palette[frames.systems[one].method] for one in models}
    figure = Figure(figsize=(theme.TWO_COLUMNS, 0.7 + 1.35 * len(clips)), layout="constrained")
    panels = figure.subplots(len(clips), 1 + len(backbones), squeeze=False)
    highest = max(float(one["score"]) for clip in clips for name in models for one in clip.predictions[name])
    for row, clip in zip(panels, clips, strict=True):
        _log_mel(row[0], clip.log_mel)
        row[0].set_title(", ".join(map(_short, clip.labels)), fontsize=8, pad=3)
        for axes, backbone in zip(row[1:], backbones, strict=True):
            _scores(axes, clip, {one: colours[one] for one in models if frames.backbone(one) == backbone})
            axes.set_xlim(0, min(1.0, 1.1 * highest))
    for axes, backbone in zip(panels[0, 1:], backbones, strict=True):
        axes.set_title(backbone)
    for axes, label in zip(panels[-1], ["time (ms)", *("score" for _ in backbones)], strict=True):
        axes.set_xlabel(label)
    methods = dict.fromkeys(frames.systems[one].method for one in models)
    handles = [Patch(color=palette[one], label=f"{one}, class in the clip") for one in methods]
    handles.append(Patch(facecolor="white", edgecolor=theme.GREY, label="class not in the clip"))
    figure.legend(handles=handles, loc="outside upper center", ncols=3)
    return figure


def _few(frames: Frames) -> list[str]:
    """The main DCLS models and their baselines, or all models of a backbone without them."""
    shown = {name for main in frames.main.values() for name in (main, frames.baseline(main))}
    return [name for name in frames.models if name in shown or frames.backbone(name) not in frames.main]


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
            names.append(_short(str(one["label"])))
            places.append(place)
    axes.set_yticks(places, names, fontsize=6)
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)


def _short(label: str) -> str:
    return label if len(label) <= LONGEST else f"{label[: LONGEST - 3].rstrip(' ,')}..."
