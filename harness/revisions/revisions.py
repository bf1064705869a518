"""What two commits hold, read from Git's objects alone: parameters, stages' dependencies and records of results."""

from __future__ import annotations

import json
import math
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any

from harness.base.errors import UserError
from harness.config.params import parse_yaml
from harness.records.git_history import WRITTEN_BY_RUNS

READ = re.compile(
    r"params\.yaml|dvc\.yaml|\.dvcignore|results/[^/]+/comparison\.json|results/hardware\.json|results/throughput/[^/]+\.csv|"
    r"results/[^/]+/runs/[^/]+/(evaluation/(metrics\.json|evaluation\.json|per_class\.csv)|training/run\.json)"
)
WHAT_MADE_IT = ("data_fingerprint", "parameters", "versions", "device", "precision", "threads", "hardware")
WRITTEN = ("outs", "metrics", "plots")  # what a stage of dvc.yaml writes
TEMPLATE = re.compile(r"\$\{[^}]*\}")


@dataclass(frozen=True)
class Revision:
    """A commit: its name as given, its hash, and the content of the files that are compared, by path."""

    name: str
    commit: str
    files: dict[str, bytes]

    @property
    def presets(self) -> list[str]:
        """Those that have a result file of their own."""
        shared = ("results/hardware.json", "results/throughput/")
        own = (path for path in self.files if path.startswith("results/") and not path.startswith(shared))
        return sorted({path.split("/")[1] for path in own})

    def under(self, folder: str) -> Iterator[str]:
        return (path for path in self.files if path.startswith(f"{folder}/"))

    def mapping(self, path: str) -> dict[str, Any]:
        """A JSON or YAML file; empty where the revision has none. Raises UserError where it is no mapping."""
        content = self.files.get(path)
        if content is None:
            return {}
        try:
            value = parse_yaml(f"{self.name}:{path}", content) if path.endswith(".yaml") else json.loads(content)
        except ValueError as error:
            raise UserError(f"{self.name}:{path}: cannot be read as JSON ({error}); name another commit") from error
        if not isinstance(value, dict):
            raise UserError(f"{self.name}:{path}: holds no mapping; name another commit")
        return value

    def text(self, path: str) -> str:
        """Empty where the revision has no such file."""
        return self.files.get(path, b"").decode(errors="replace")

    def number(self, path: str, mapping: Any, key: str) -> float:
        """The value of a key of `mapping`, which is of that file. Raises UserError where it is no finite number."""
        value = mapping.get(key) if isinstance(mapping, dict) else None
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise UserError(f"{self.name}:{path}: has no number {key!r}; name another commit")
        return float(value)


@dataclass(frozen=True)
class CodeChange:
    """Changed files, with the letter of git's status, by the stages that depend on them; stages of dvc.yaml that
    changed; the number of other changed files, on which no stage depends and which no stage writes."""

    files: dict[tuple[str, ...], dict[str, str]]
    stages: list[str]
    others: int


@dataclass(frozen=True)
class RecordChange:
    """A key of the records beside the results that is not the same in two revisions, and `where`: which records."""

    key: str
    old: Any
    new: Any
    where: str


def read_revision(name: str) -> Revision:
    """Raises UserError where there is no such commit, no repository, or no git."""
    try:
        commit = _git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}").decode().strip()
        objects = _objects(commit, READ)  # fails on `^HEAD`, which is a commit left out, and verified
    except UserError as error:
        raise UserError(
            f"{name}: no commit here ({error}); see `git log`; a shallow clone needs `git fetch --unshallow`"
        ) from error
    return Revision(name, commit, dict(zip(objects, _contents(list(objects.values())), strict=True)))


def read_files(revision: Revision, pattern: re.Pattern[str]) -> dict[str, bytes]:
    """Content of the commit's files whose whole path fits, by path."""
    objects = _objects(revision.commit, pattern)
    return dict(zip(objects, _contents(list(objects.values())), strict=True))


def changed_files(a: Revision, b: Revision) -> dict[str, str]:
    """Path -> letter of git's status (A, M, D, T) of every file that differs; a rename is a new and a gone file."""
    fields = _git("diff-tree", "-r", "-z", "--no-renames", "--name-status", a.commit, b.commit)
    letters, names = fields.split(b"\0")[:-1:2], fields.split(b"\0")[1::2]
    return {name.decode(errors="replace"): letter.decode() for letter, name in zip(letters, names, strict=True)}


def parameter_changes(a: Revision, b: Revision) -> list[tuple[str, Any, Any]]:
    """(dotted key, old, new) of params.yaml, in the order of the file; None also where a key is not there."""
    return _differences(flatten(a.mapping("params.yaml")), flatten(b.mapping("params.yaml")))


def code_changes(a: Revision, b: Revision, changed: dict[str, str]) -> CodeChange:
    """What of the changed files the stages of either revision depend on."""
    old, new = (_mapping(one.mapping("dvc.yaml").get("stages")) for one in (a, b))
    names = list(dict.fromkeys([*new, *old]))
    patterns = {name: [*_dependencies(old, name), *_dependencies(new, name)] for name in names}
    ignored = [line.strip() for line in b.text(".dvcignore").splitlines() if line.strip()]
    files: dict[tuple[str, ...], dict[str, str]] = {}
    others = 0
    for path, status in changed.items():
        stages = tuple(name for name in names if any(one.fullmatch(path) for one in patterns[name]))
        if stages and not _is_ignored(path, ignored):
            files.setdefault(stages, {})[path] = status
        elif path != "dvc.yaml" and path.split("/")[0] not in WRITTEN_BY_RUNS:
            others += 1
    return CodeChange(files, [_said_of(name, old, new) for name in names if old.get(name) != new.get(name)], others)


def record_changes(a: Revision, b: Revision, preset: str) -> list[RecordChange]:
    """What differs between the records that both revisions have: data fingerprint, parameters, versions, device."""
    found: dict[tuple[str, str], tuple[Any, Any, list[str]]] = {}
    having: dict[str, list[str]] = {}
    folder = f"results/{preset}"
    for path in b.under(folder):
        if path not in a.files or not path.endswith(("/run.json", "/evaluation.json")):
            continue
        old, new = (_what_made_it(one.mapping(path)) for one in (a, b))
        for key in {**new, **old}:
            having.setdefault(key, []).append(path)
        for key, *values in _differences(old, new):
            found.setdefault((key, json.dumps(values)), (*values, []))[2].append(path)
    return [
        RecordChange(key, old, new, "all" if len(paths) == len(having[key]) else _where(paths, folder, b))
        for (key, _), (old, new, paths) in sorted(found.items())
    ]


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one with dotted keys; lists are values."""
    if not isinstance(value, dict):
        return {prefix: value}
    found: dict[str, Any] = {}
    for key, inner in value.items():
        found |= flatten(inner, f"{prefix}.{key}" if prefix else str(key))
    return found


def _differences(old: dict[str, Any], new: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    return [(key, old.get(key), new.get(key)) for key in {**new, **old} if old.get(key) != new.get(key)]


def _what_made_it(record: dict[str, Any]) -> dict[str, Any]:
    kept = {key: record[key] for key in WHAT_MADE_IT if key in record}
    return flatten(kept) | {"code.dirty": (record.get("code") or {}).get("dirty")}


def _where(paths: list[str], folder: str, revision: Revision) -> str:
    """Names of the runs; that of the model alone where it is all of its seeds."""
    known, names = ({_name(path): None for path in some} for some in (revision.under(folder), paths))
    found: dict[str, None] = {}
    for name in names:
        model = name.rpartition("-")[0]
        seeds = {other for other in known if other.rpartition("-")[0] == model}
        found[model if model and seeds <= set(names) else name] = None
    return ", ".join(found)


def _name(path: str) -> str:
    """`MODEL-SEED` of a run's file; empty for others."""
    parts = path.split("/")
    return parts[3] if len(parts) > 3 and parts[2] == "runs" else ""


def _dependencies(stages: dict[str, Any], name: str) -> list[re.Pattern[str]]:
    """Patterns of the files that a stage depends on, less those that stages write; `${...}` is any one name."""
    written = [_path(out) for stage in stages.values() for kind in WRITTEN for out in _mapping(stage).get(kind) or []]
    return [
        re.compile("[^/]+".join(map(re.escape, TEMPLATE.split(path))) + "(/.*)?")
        for path in map(_path, _mapping(stages.get(name)).get("deps") or [])
        if not any(_is_within(path, out) or _is_within(out, path) for out in written)
    ]


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _path(item: Any) -> str:
    """`path`, or the key of `{path: {cache: false}}`."""
    return str(next(iter(item)) if isinstance(item, dict) else item).rstrip("/")


def _is_within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


def _is_ignored(path: str, patterns: list[str]) -> bool:
    """Whether a plain pattern of .dvcignore names the file or a folder that it is in."""
    return any(fnmatch(part, pattern) for pattern in patterns for part in (path, *path.split("/")))


def _said_of(name: str, old: dict[str, Any], new: dict[str, Any]) -> str:
    return f"{name} ({'changed' if name in old and name in new else 'new' if name in new else 'gone'})"


def _objects(commit: str, pattern: re.Pattern[str]) -> dict[str, str]:
    """Names of Git's objects of the files whose path fits, by path."""
    entries = _git("ls-tree", "-r", "-z", "--full-tree", commit).decode(errors="replace").split("\0")
    named = (entry.partition("\t") for entry in entries)
    return {path: about.split()[2] for about, _, path in named if pattern.fullmatch(path)}


def _contents(objects: list[str]) -> Iterator[bytes]:
    """Of Git's objects, in one process."""
    output = _git("cat-file", "--batch", stdin="".join(f"{name}\n" for name in objects).encode())
    begin = 0
    for _ in objects:
        end = output.index(b"\n", begin)
        size = int(output[begin:end].split()[2])
        yield output[end + 1 : end + 1 + size]
        begin = end + size + 2


def _git(*arguments: str, stdin: bytes = b"") -> bytes:
    try:
        done = subprocess.run(["git", *arguments], input=stdin, capture_output=True, check=False)
    except OSError as error:
        raise UserError(f"git: cannot be run ({error.strerror}); revisions are read with it, install it") from error
    if done.returncode:
        raise UserError(f"git {arguments[0]}: {done.stderr.decode(errors='replace') or f'status {done.returncode}'}")
    return done.stdout
