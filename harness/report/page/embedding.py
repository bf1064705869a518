"""Files as data URLs, so that the page needs nothing beside itself."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path

from harness.base.errors import UserError
from harness.base.files import read_json

MOST_FIGURE_BYTES = 1_700_000  # of all figures as text; those that do not fit are named
SHOWN_AS_CLIPS = "example_clips"  # the page has a section for them, with their sound


@dataclass(frozen=True)
class EmbeddedFigure:
    """A figure with its picture as a data URL; None where the page has no room for it."""

    name: str
    heading: str
    caption: str
    source: str | None


def data_url(path: Path, kind: str, stage: str) -> str:
    """Raises UserError, naming the stage that writes the file, where it cannot be read."""
    try:
        return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); run `{stage}` again") from error


def embedded_figures(folder: Path) -> list[EmbeddedFigure]:
    """What the figures stage drew into `folder`, in its order. Raises UserError where a file is missing."""
    found, left = [], MOST_FIGURE_BYTES
    for one in read_json(folder / "figures.json"):
        if one["name"] == SHOWN_AS_CLIPS:
            continue
        source = data_url(folder / f"{one['name']}.png", "image/png", "figures")
        fits = len(source) <= left
        left -= len(source) if fits else 0
        found.append(EmbeddedFigure(one["name"], one["heading"], one["caption"], source if fits else None))
    return found
