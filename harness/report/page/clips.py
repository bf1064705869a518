"""Example clips of the test set with the models' predictions, log-mel and, where its licence allows, sound."""

from __future__ import annotations

from typing import Any

from harness.report.frames import Frames
from harness.report.page.embedding import data_url


def clips_with_predictions(frames: Frames) -> list[dict[str, Any]]:
    """The example clips, `audio` as a data URL or None; `predictions` as pairs, in the order of the models.

    Raises UserError where a file of sound is missing.
    """
    found = []
    for clip in frames.examples:
        path = frames.examples_file.with_name(str(clip["audio"]))
        audio = data_url(path, "audio/flac", "examples") if clip["audio"] else None
        models = [model for model in frames.models if model in clip["predictions"]]
        found.append(clip | {"audio": audio, "predictions": [(model, clip["predictions"][model]) for model in models]})
    return found
