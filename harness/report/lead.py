"""What stands first on README, page and report: an answer in one sentence, and a picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.base import paths
from harness.base.files import read_text

STUDY = "study"  # the preset whose answer leads, where its results are there
ANSWER, PICTURE = "answer.txt", "systems"


@dataclass(frozen=True)
class Lead:
    """`picture` is a PNG of the figures stage."""

    preset: str
    sentence: str
    picture: Path


def lead(preset: str) -> Lead:
    """Of the study, where `tables` and `figures` wrote its answer, else of the preset itself. Raises UserError where
    `tables` has not run."""
    shown = STUDY if (paths.tables(STUDY) / ANSWER).is_file() and _picture(STUDY).is_file() else preset
    return Lead(shown, read_text(paths.tables(shown) / ANSWER).strip(), _picture(shown))


def _picture(preset: str) -> Path:
    return paths.results(preset) / "figures" / f"{PICTURE}.png"
