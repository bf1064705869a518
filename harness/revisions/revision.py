"""A commit's files, read from Git's objects: nothing has to be checked out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.base.errors import UserError
from harness.config.params import parse_yaml
from harness.records.git_history import blobs_of, git, read_blobs
from harness.report.reading import Files

READ = re.compile(
    r"params\.yaml|dvc\.yaml|\.dvcignore|results/throughput/[^/]+\.(csv|json)|results/[^/]+/comparison\.json|"
    r"results/[^/]+/runs/[^/]+/(metrics\.json|evaluation/(metrics\.json|evaluation\.json|per_class\.csv)|training/run\.json)"
)

EXPERIMENT = re.compile(r"[\w.-]+", re.ASCII)


@dataclass(frozen=True)
class Revision:
    """A commit: its name as given, its hash, and the content of the files that are compared, by path."""

    name: str
    commit: str
    contents: dict[str, bytes]

    @property
    def files(self) -> Files:
        """The same, as the frames read it."""
        paths = sorted(map(Path, self.contents))
        return Files(
            lambda path: self.contents.get(path.as_posix()),
            lambda folder: [one for one in paths if folder in one.parents],
        )

    @property
    def presets(self) -> set[str]:
        """Those that have a result file of their own."""
        return {path.split("/")[1] for path in self.contents if path.startswith("results/")} - {"throughput"}

    def yaml(self, path: str) -> dict[str, Any]:
        """Empty where the commit has no such file. Raises UserError where it is no mapping."""
        with self.errors_name_it():
            value = parse_yaml(path, self.contents.get(path, b"{}"))
            if not isinstance(value, dict):
                raise UserError(f"{path}: holds no mapping")
        return value

    @contextmanager
    def errors_name_it(self) -> Iterator[None]:
        """What cannot be read is of this commit, where no stage can be run again."""
        try:
            yield
        except UserError as error:
            what = str(error).rpartition("; ")[0] or str(error)
            raise UserError(f"{self.name}:{what}; name another commit") from error


def read_revision(name: str) -> Revision:
    """Raises UserError where there is no such commit, no repository, or no git."""
    try:
        commit = _commit(name)
        blobs = {path: blob for path, blob in blobs_of(commit).items() if READ.fullmatch(path)}
    except UserError as error:
        where = "see `git log` and `dvc exp list`; a shallow clone needs `git fetch --unshallow`"
        raise UserError(f"{name}: no commit here, nor experiment of DVC's ({error}); {where}") from error
    contents = read_blobs(blobs.values())
    return Revision(name, commit, {path: contents[blob] for path, blob in blobs.items()})


def _commit(name: str) -> str:
    """The hash of a commit, or of the newest experiment of DVC's with this name. Raises UserError for neither."""
    try:
        return git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}").decode().strip()
    except UserError:
        pattern = f"refs/exps/*/*/{name}"  # where DVC keeps them
        order = ("--sort=-committerdate", "--format=%(objectname)")
        found = git("for-each-ref", *order, pattern).decode().split() if EXPERIMENT.fullmatch(name) else []
        if not found:
            raise
        return found[0]


def changed_files(a: Revision, b: Revision) -> dict[str, str]:
    """Path -> letter of git's status (A, M, D, T) of every file that differs; a rename is a new and a gone file."""
    fields = git("diff-tree", "-r", "-z", "--no-renames", "--name-status", a.commit, b.commit).decode(errors="replace")
    letters, paths = fields.split("\0")[:-1:2], fields.split("\0")[1::2]
    return dict(zip(paths, letters, strict=True))
