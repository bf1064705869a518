"""Figures and example clips with their files as data URLs, so that the page needs nothing beside itself."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from harness.base import paths
from harness.base.errors import UserError
from harness.base.files import read_json
from harness.report.frames import Frames

MOST_FIGURE_BYTES = 1_600_000  # of all figures as text; those that do not fit are named
ELSEWHERE = "example_clips"  # which the page has as a section of its own, with sound


def embedded_figures(frames: Frames, room: int) -> list[dict[str, Any]]:
    """What the figures stage drew, in its order, with the picture as `source`; None where `room` bytes are used up.

    Raises UserError where a file is missing.
    """
    folder, left, found = paths.results(frames.preset) / "figures", room, []
    for figure in read_json(folder / "figures.json"):
        if figure["name"] != ELSEWHERE:
            source = data_url(folder / f"{figure['name']}.png", "image/png", "figures")
            fits = len(source) <= left
            left -= len(source) if fits else 0
            found.append(figure | {"source": source if fits else None})
    return found


def embedded_clips(frames: Frames) -> list[dict[str, Any]]:
    """The example clips, `audio` as a data URL or None, `predictions` as pairs in the order of the models.

    Raises UserError where examples.json is malformed, or a sound file is missing.
    """
    folder, found = paths.results(frames.preset) / "examples", []
    for clip in frames.examples:
        audio = data_url(folder / clip.audio, "audio/flac", "examples") if clip.audio else None
        predictions = [(model, clip.predictions[model]) for model in frames.models if model in clip.predictions]
        found.append(clip.model_dump() | {"audio": audio, "predictions": predictions})
    return found


def data_url(path: Path, kind: str, stage: str) -> str:
    try:
        return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); run `{stage}` again") from error
