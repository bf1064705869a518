"""Which source files a stage runs: what DVC depends on, and what the fingerprints of unfinished work are made of."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

ROOT = Path(__file__).parents[2]
PACKAGES = ("harness", "dcls")
# The module and function of each stage of dvc.yaml. `__main__` takes its commands from here too.
STAGES = {
    "link": ("harness.data.links", "link"),
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
    "figures": ("harness.report.figures.draw", "draw_figures"),
    "page": ("harness.report.page.build", "write_page"),
}
# Code that no result depends on, and why. A folder stands for all modules in it.
PLUMBING = {
    "harness/__init__.py": "is a docstring",
    "harness/base": "says where files lie and writes, downloads and locks them, whatever is in them",
    "harness/config": "reads params.yaml, and dvc.yaml names the parameters that each stage depends on",
    "harness/records": "writes what stands beside a number, never the number",
    "harness/running/checkpoint.py": "saves and loads weights as they are",
    "harness/running/resume.py": "saves and loads the state of a run; tests hold a resumed run to an undisturbed one",
    "harness/running/watch.py": "tells how far a run is; tests hold a watched run to one that is not",
    "harness/running/signals.py": "stops a run between two steps; tests hold a stopped run to an undisturbed one",
}


@dataclass(frozen=True)
class Tree:
    """The source files of some version of the repository, by path, as keys that `read` gives the content of."""

    files: Mapping[str, Any]
    read: Callable[[Any], bytes]


def working_tree(root: Path = ROOT) -> Tree:
    """The files as they lie here."""
    places = (path for package in PACKAGES for end in ("py", "csv") for path in (root / package).rglob(f"*.{end}"))
    return Tree({path.relative_to(root).as_posix(): path for path in places}, Path.read_bytes)


def stage_code(stage: str, tree: Tree | None = None) -> list[str]:
    """The paths of the source files that the results of a stage depend on, sorted.

    All modules that the stage imports, at any depth and wherever in the code, less PLUMBING; a CSV that lies beside
    one of them counts as part of it.
    """
    return _code_of((STAGES[stage][0],), tree or working_tree())


def stage_fingerprint(stage: str, tree: Tree | None = None) -> str:
    """SHA-256 over the paths and contents of `stage_code`: the same code in the same places gives the same value."""
    return code_fingerprint(STAGES[stage][0], tree=tree)


def code_fingerprint(*modules: str, tree: Tree | None = None) -> str:
    """The same for modules and all that they import."""
    tree, digest = tree or working_tree(), hashlib.sha256()
    for path in _code_of(modules, tree):
        digest.update(f"{path}\0{hashlib.sha256(tree.read(tree.files[path])).hexdigest()}\n".encode())
    return digest.hexdigest()


def _code_of(modules: Iterable[str], tree: Tree) -> list[str]:
    code = {path for module in modules for path in closure(module, tree) if not is_plumbing(path)}
    code = {path for path in code if tree.read(tree.files[path])}  # an empty __init__.py says nothing
    folders = {path.rpartition("/")[0] for path in code}
    tables = {path for path in tree.files if path.endswith(".csv") and path.rpartition("/")[0] in folders}
    return sorted(code | tables)


def is_plumbing(path: str) -> bool:
    return any(str(one) in PLUMBING for one in (PurePosixPath(path), *PurePosixPath(path).parents))


def closure(module: str, tree: Tree) -> set[str]:
    """The paths of a module and of everything of this repository that it imports."""
    found: dict[str, str] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = _path_of(name, tree)
        if path and name not in found:
            found[name] = path
            package = name if path.endswith("/__init__.py") else name.rpartition(".")[0]
            parts = name.split(".")
            above = (".".join(parts[:count]) for count in range(1, len(parts)))  # what Python imports on the way
            waiting += [*_imported(tree.read(tree.files[path]), package), *above]
    return set(found.values())


@cache
def _imported(source: bytes, package: str) -> frozenset[str]:
    """What the source of a module in `package` imports of this repository, also inside functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            above = parts[: len(parts) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            found.update((base, *(f"{base}.{alias.name}" for alias in node.names)))
    return frozenset(one for one in found if one.partition(".")[0] in PACKAGES)


def _path_of(name: str, tree: Tree) -> str | None:
    """The source of a module or package; None where the name is that of something inside a module."""
    place = name.replace(".", "/")
    return next((path for path in (f"{place}.py", f"{place}/__init__.py") if path in tree.files), None)
