"""Example clips of the test set with the models' predictions, log-mel and, where its licence allows, sound."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from harness.base import paths
from harness.base.errors import UserError
from harness.base.files import read_json
from harness.report.load import Results

KEYS = ("id", "labels", "audio", "licence", "recordings", "predictions", "log_mel")


def example_clips(results: Results) -> list[dict[str, Any]]:
    """The clips of examples/examples.json, `audio` as a data URL or None; none where no examples were recorded.

    Raises UserError where a file that examples.json names is missing, or a clip lacks a key.
    """
    folder = paths.results(results.preset) / "examples"
    if not (folder / "examples.json").is_file():
        return []
    found = []
    for clip in read_json(folder / "examples.json")["clips"]:
        lacking = [key for key in KEYS if key not in clip]
        if lacking:
            raise UserError(f"{folder / 'examples.json'}: a clip lacks {', '.join(lacking)}; run `examples` again")
        models = [model for model in results.models if model in clip["predictions"]]
        found.append(
            clip
            | {
                "audio": _sound(folder / clip["audio"]) if clip["audio"] else None,
                "predictions": [(model, clip["predictions"][model]) for model in models],
            }
        )
    return found


def _sound(path: Path) -> str:
    try:
        return f"data:audio/flac;base64,{base64.b64encode(path.read_bytes()).decode()}"
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); run `examples` again") from error
