"""Which stages of dvc.yaml depend on the files that changed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any

from harness.records.git_history import WRITTEN_BY_RUNS
from harness.revisions.revision import Revision

WRITTEN = ("outs", "metrics", "plots")  # what a stage of dvc.yaml writes
TEMPLATE = re.compile(r"\$\{[^}]*\}")


@dataclass(frozen=True)
class CodeChanges:
    """Changed files, with the letter of git's status, by the stages that depend on them; stages of dvc.yaml that
    changed; the number of other changed files, on which no stage depends and which no stage writes."""

    files: dict[tuple[str, ...], dict[str, str]]
    stages: list[str]
    others: int


def code_changes(a: Revision, b: Revision, changed: dict[str, str]) -> CodeChanges:
    """What of the changed files the stages of either revision depend on."""
    stages = []
    for one in (a, b):
        with one.named_in_errors():
            stages.append(_mapping(one.yaml("dvc.yaml").get("stages")))
    old, new = stages
    names = list(dict.fromkeys([*new, *old]))
    patterns = {name: [*_dependencies(old, name), *_dependencies(new, name)] for name in names}
    ignored = b.contents.get(".dvcignore", b"").decode(errors="replace").split("\n")
    files: dict[tuple[str, ...], dict[str, str]] = {}
    others = 0
    for path, letter in changed.items():
        depending = tuple(name for name in names if any(one.fullmatch(path) for one in patterns[name]))
        if depending and not _is_ignored(path, ignored):
            files.setdefault(depending, {})[path] = letter
        elif path != "dvc.yaml" and path.split("/")[0] not in WRITTEN_BY_RUNS:
            others += 1
    in_one = {name: "changed" if name in old and name in new else "new" if name in new else "gone" for name in names}
    return CodeChanges(files, [f"{name} ({in_one[name]})" for name in names if old.get(name) != new.get(name)], others)


def _dependencies(stages: dict[str, Any], name: str) -> list[re.Pattern[str]]:
    """Patterns of the files that a stage depends on, less those that stages write; `${...}` is any one name."""
    written = [_path(out) for stage in stages.values() for kind in WRITTEN for out in _mapping(stage).get(kind) or []]
    return [
        re.compile("[^/]+".join(map(re.escape, TEMPLATE.split(path))) + "(/.*)?")
        for path in map(_path, _mapping(stages.get(name)).get("deps") or [])
        if not any(path == out or path.startswith(f"{out}/") or out.startswith(f"{path}/") for out in written)
    ]


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _path(item: Any) -> str:
    """`path`, or the key of `{path: {cache: false}}`."""
    return str(next(iter(item)) if isinstance(item, dict) else item).rstrip("/")


def _is_ignored(path: str, patterns: list[str]) -> bool:
    """Whether a plain pattern of .dvcignore names the file or a folder that it is in."""
    plain = [pattern.strip() for pattern in patterns]
    return any(fnmatch(part, pattern) for pattern in plain for part in (path, *path.split("/")))
