"""Example clips of the test set with the models' predictions, log-mel and, where its licence allows, sound."""

from __future__ import annotations

from typing import Any

from harness.report.examples import examples_folder, recorded_examples
from harness.report.frames import Frames
from harness.report.page.embedding import data_url


def clips_with_sound(frames: Frames) -> list[dict[str, Any]]:
    """The recorded examples, `audio` as a data URL or None, `predictions` as pairs in the order of the models.

    Raises UserError where examples.json is malformed, or a sound file is missing.
    """
    found = []
    for clip in recorded_examples(frames):
        audio = data_url(examples_folder(frames) / clip.audio, "audio/flac", "examples") if clip.audio else None
        predictions = [(model, clip.predictions[model]) for model in frames.models if model in clip.predictions]
        found.append(clip.model_dump() | {"audio": audio, "predictions": predictions})
    return found
