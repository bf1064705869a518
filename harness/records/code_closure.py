"""Which source files a stage runs: what DVC depends on, and what the fingerprints of unfinished work are made of."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("harness", "dcls")
# The module and function of each stage of dvc.yaml. `__main__` takes its commands from here too.
STAGES = {
    "fetch": ("harness.data.fetching.fetch", "fetch"),
    "featurize": ("harness.data.featurize", "featurize"),
    "train": ("harness.training.train", "train"),
    "evaluate": ("harness.evaluation.evaluate", "evaluate"),
    "linear-baseline": ("harness.evaluation.linear_baseline", "linear_baseline"),
    "compare-models": ("harness.comparison.paired", "compare"),
    "examples": ("harness.comparison.examples", "examples"),
    "count-parameters": ("harness.counting.parameters", "count_parameters"),
    "throughput": ("harness.throughput.sweep", "throughput"),
    "tables": ("harness.report.tables", "tables"),
    "figures": ("harness.report.figures", "figures"),
    "page": ("harness.report.page.build", "page"),
}
# Code that no result depends on, and why. A folder stands for all modules in it.
PLUMBING = {
    "harness/__init__.py": "is a docstring",
    "harness/base": "says where files lie and writes, downloads and locks them, whatever is in them",
    "harness/config": "reads params.yaml, and dvc.yaml names the parameters that each stage depends on",
    "harness/records": "writes what stands beside a number, never the number",
    "harness/running/checkpoint.py": "saves and loads weights as they are",
    "harness/running/resume.py": "saves and loads the state of a run; tests hold a resumed run to an undisturbed one",
    "harness/running/signals.py": "stops a run between two steps; tests hold a stopped run to an undisturbed one",
}


def stage_code(stage: str) -> list[Path]:
    """The source files that the results of a stage depend on, sorted, relative to the repository root.

    All modules that the stage imports, at any depth and wherever in the code, less PLUMBING; a CSV that lies beside
    one of them counts as part of it.
    """
    return _code_of(STAGES[stage][0])


def _code_of(*modules: str) -> list[Path]:
    code = {path for module in modules for path in closure(module) if not is_plumbing(path)}
    code = {path for path in code if (ROOT / path).stat().st_size}  # an empty __init__.py says nothing
    tables = {table for path in code for table in (ROOT / path).parent.glob("*.csv")}
    return sorted({*code, *(table.relative_to(ROOT) for table in tables)})


def stage_fingerprint(stage: str) -> str:
    """SHA-256 over the names and contents of `stage_code`: the same code in the same places gives the same value."""
    return code_fingerprint(STAGES[stage][0])


def code_fingerprint(*modules: str) -> str:
    """The same for modules and all that they import."""
    digest = hashlib.sha256()
    for path in _code_of(*modules):
        digest.update(f"{path.as_posix()}\0{hashlib.sha256((ROOT / path).read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def is_plumbing(path: Path) -> bool:
    return any(str(one) in PLUMBING for one in (path, *path.parents))


def closure(module: str) -> list[Path]:
    """The file of a module and of everything of this repository that it imports, relative to the root."""
    found: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in found and _file_of(name):
            found.add(name)
            waiting += [*_imported(name), *_parents(name)]
    return sorted(path.relative_to(ROOT) for path in map(_file_of, found) if path)


def _parents(name: str) -> Iterator[str]:
    """The packages that Python imports on the way to a module."""
    parts = name.split(".")
    return (".".join(parts[:count]) for count in range(1, len(parts)))


@cache
def _imported(name: str) -> frozenset[str]:
    """Modules of this repository that a module's source names in an import, also inside functions."""
    path = _file_of(name)
    assert path is not None  # checked by `closure`
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            found.update((base, *(f"{base}.{alias.name}" for alias in node.names)))
    return frozenset(one for one in found if one.partition(".")[0] in PACKAGES)


@cache
def _file_of(name: str) -> Path | None:
    """The source of a module or package; None where the name is that of something inside a module."""
    place = ROOT.joinpath(*name.split("."))
    return next((path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()), None)
