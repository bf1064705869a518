"""What stands first on README, page and report: an answer in one sentence, and a picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.base import paths
from harness.base.files import read_text

STUDY = "study"  # the preset whose answer leads that of the quick run, where its results are there
QUICK = "instruments"
ANSWER, PICTURE = "answer.txt", "systems"


@dataclass(frozen=True)
class Lead:
    """`picture` is a PNG of the figures stage."""

    preset: str
    sentence: str
    picture: Path


def lead(preset: str) -> Lead:
    """Of the quick run the study's, where `tables` and `figures` wrote one; of any other preset its own.

    Raises UserError where `tables` has not run.
    """
    studied = (paths.tables(STUDY) / ANSWER).is_file() and _picture(STUDY).is_file()
    shown = STUDY if preset == QUICK and studied else preset
    return Lead(shown, read_text(paths.tables(shown) / ANSWER).strip(), _picture(shown))


def _picture(preset: str) -> Path:
    return paths.results(preset) / "figures" / f"{PICTURE}.png"
