"""The example clips that a preset recorded, with what its models predict in them."""

from __future__ import annotations

from harness.base import paths
from harness.records import schemas
from harness.report.frames import Frames


def recorded_examples(frames: Frames) -> list[schemas.Example]:
    """None where none were recorded. Raises UserError where examples.json is malformed."""
    path = paths.results(frames.preset) / "examples" / "examples.json"
    return [] if frames.files.read(path) is None else frames.files.json(path, schemas.Examples).clips
