"""`python -m harness show`: prints what `tables` wrote, and where the report lies. It ends every `make repro`.

And what stands first on README, page and report: an answer in one sentence, and a picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.base import paths
from harness.base.files import read_text
from harness.config.params import Params

PRINTED, ANSWER = "table1.txt", "answer.txt"  # of the tables stage
PICTURE = "systems"  # of the figures stage
STUDY = "study"  # the preset whose answer leads that of the quick run, where its results are there
QUICK = "instruments"


def show(params: Params) -> None:
    """Raises UserError where `tables` has not run."""
    print(shown(params.preset))


def shown(preset: str) -> str:
    """Table 1, what made it, and three paths."""
    folder, results = paths.tables(preset), paths.results(preset)
    where = {"table": folder / "table1.md", "report": results / "report.md", "page": results / "index.html"}
    return read_text(folder / PRINTED) + "\n".join(f"{name:6}  {path}" for name, path in where.items())


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
    pictures = {name: paths.results(name) / "figures" / f"{PICTURE}.png" for name in (preset, STUDY)}
    studied = (paths.tables(STUDY) / ANSWER).is_file() and pictures[STUDY].is_file()
    first = STUDY if preset == QUICK and studied else preset
    return Lead(first, read_text(paths.tables(first) / ANSWER).strip(), pictures[first])
