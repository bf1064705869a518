"""Which stages of dvc.yaml depend on the files that changed."""

from __future__ import annotations

import re
from fnmatch import fnmatch
from typing import Any

from harness.records.git_history import WRITTEN_BY_RUNS
from harness.revisions.revision import Revision

TITLE = "**Code that stages depend on**"
WRITTEN = ("outs", "metrics", "plots")  # what a stage of dvc.yaml writes
TEMPLATE = re.compile(r"\$\{[^}]*\}")
STATUS = {"A": " (new)", "D": " (gone)"}


def code_changes(a: Revision, b: Revision, changed: dict[str, str]) -> str:
    """In Markdown: changed files by the stages of either commit that depend on them, and stages that changed.

    Other changed files are counted, but for those that stages write.
    """
    old, new = (_mapping(one.yaml("dvc.yaml").get("stages")) for one in (a, b))
    names = list(dict.fromkeys([*new, *old]))
    patterns = {name: [*_dependencies(old, name), *_dependencies(new, name)] for name in names}
    ignored = b.contents.get(".dvcignore", b"").decode(errors="replace").split()
    lines: dict[str, list[str]] = {}
    others = 0
    for path, letter in changed.items():
        stages = ", ".join(name for name in names if any(one.fullmatch(path) for one in patterns[name]))
        if stages and not any(fnmatch(part, one) for one in ignored for part in (path, *path.split("/"))):
            lines.setdefault(stages, []).append(f"`{path}`{STATUS.get(letter, '')}")
        elif path != "dvc.yaml" and path.split("/")[0] not in WRITTEN_BY_RUNS:
            others += 1
    how = {name: "new" if name not in old else "gone" if name not in new else "changed" for name in names}
    if stages_changed := [f"{name} ({how[name]})" for name in names if old.get(name) != new.get(name)]:
        lines["dvc.yaml"] = stages_changed
    also = f" No stage depends on {others} other changed file{'' if others == 1 else 's'}." if others else ""
    if not lines:
        return f"{TITLE}: unchanged.{also}"
    return "\n".join(
        [f"{TITLE}, by stage.{also}", "", *(f"- {one}: {', '.join(files)}" for one, files in lines.items())]
    )


def _dependencies(stages: dict[str, Any], name: str) -> list[re.Pattern[str]]:
    """Patterns of the files that a stage depends on, less those that stages write; `${...}` is any one name."""
    written = [_path(out) for stage in stages.values() for kind in WRITTEN for out in _mapping(stage).get(kind) or []]
    return [
        re.compile("[^/]+".join(map(re.escape, TEMPLATE.split(path))) + "(/.*)?")
        for path in map(_path, _mapping(stages.get(name)).get("deps") or [])
        if not any(f"{path}/".startswith(f"{out}/") or f"{out}/".startswith(f"{path}/") for out in written)
    ]


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _path(item: Any) -> str:
    """`path`, or the key of `{path: {cache: false}}`."""
    return str(next(iter(item)) if isinstance(item, dict) else item).rstrip("/")
