"""`python -m harness show`: prints what `tables` wrote, and where the report lies. It ends every `make repro`."""

from __future__ import annotations

from harness.base import paths
from harness.base.files import read_text
from harness.config.params import Params

PRINTED = "table1.txt"


def show(params: Params) -> None:
    """Raises UserError where `tables` has not run."""
    print(shown(params.preset))


def shown(preset: str) -> str:
    """Table 1, what made it, and three paths."""
    folder, results = paths.tables(preset), paths.results(preset)
    where = {"table": folder / "table1.md", "report": results / "report.md", "page": results / "index.html"}
    return read_text(folder / PRINTED) + "\n".join(f"{name:6}  {path}" for name, path in where.items())
