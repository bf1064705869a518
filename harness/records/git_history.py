"""What Git knows of this repository: the commit that is checked out, and which commit has the code of a result."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from harness.base.errors import UserError
from harness.records.code_closure import PACKAGES, Tree, stage_fingerprint

WRITTEN_BY_RUNS = ("results", "paper_tables", "dvc.lock", "benchmarks/results")
RECORDED = "params.yaml"  # whose values stand in every record; with the above, not counted as changed code
MOST_COMMITS = 500  # that are searched for the code of a result, newest first


def code_revision() -> dict[str, Any]:
    """`revision`, and whether tracked files but results and params.yaml are `dirty`; both None without Git history."""
    try:
        revision = git("rev-parse", "HEAD").decode().strip()
        unchanged = (f":!{name}" for name in (*WRITTEN_BY_RUNS, RECORDED))
        changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", *unchanged)
    except UserError as error:
        _say_once(str(error))
        return {"revision": None, "dirty": None}
    return {"revision": revision, "dirty": bool(changed)}


@cache
def _say_once(why: str) -> None:
    print(f"{why}; what is recorded names no commit", file=sys.stderr)


def revision_with(stage: str, fingerprint: str, root: Path = Path()) -> str | None:
    """The newest commit at `root` whose code of a stage has this fingerprint; None where none of the last has.

    Raises UserError where there is no Git history.
    """
    commits = git("rev-list", f"--max-count={MOST_COMMITS}", "HEAD", "--", *PACKAGES, root=root).decode().split()
    return next((commit for commit in commits if stage_fingerprint(stage, tree_of(commit, root)) == fingerprint), None)


def tree_of(commit: str, root: Path = Path()) -> Tree:
    """The sources of a commit, read from Git's objects."""
    files = {
        path: name for path, name in blobs_of(commit, *PACKAGES, root=root).items() if path.endswith((".py", ".csv"))
    }
    return Tree(files, read_blobs(files.values(), root).__getitem__)


def blobs_of(commit: str, *paths: str, root: Path = Path()) -> dict[str, str]:
    """The names of Git's objects of a commit's files, by path; of those at or below `paths` alone where given."""
    found = {}
    for entry in git("ls-tree", "-r", "-z", commit, "--", *paths, root=root).split(b"\0")[:-1]:
        about, _, path = entry.partition(b"\t")
        found[path.decode(errors="replace")] = about.split()[2].decode()
    return found


_blobs: dict[str, bytes] = {}  # by their names, of which commits share most


def read_blobs(names: Iterable[str], root: Path = Path()) -> dict[str, bytes]:
    """The contents of Git's objects by their names: all that are not known yet are read in one call of git."""
    missing = [name for name in dict.fromkeys(names) if name not in _blobs]
    output = git("cat-file", "--batch", given="".join(f"{name}\n" for name in missing).encode(), root=root)
    for name in missing:
        head, _, output = output.partition(b"\n")
        size = int(head.split()[2])
        _blobs[name], output = output[:size], output[size + 1 :]
    return _blobs


def git(*arguments: str, given: bytes = b"", root: Path = Path()) -> bytes:
    """What git prints in the folder `root`.

    Raises UserError where it fails, or where `root` is only inside another project's repository.
    """
    try:
        top = _run("rev-parse", "--show-toplevel", root=root).decode().strip()
        if Path(top).resolve() != root.resolve():
            raise UserError(f"{root.resolve()}: no Git history here; the repository around it is {top}")
        return _run(*arguments, given=given, root=root)
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", b"").decode(errors="replace").strip().split("\n")[0] or str(error)
        if "dubious ownership" in said:  # in a container, say, whose user is another
            raise UserError(
                f"{root.resolve()}: belongs to another user, so that Git does not read its history; "
                f"`git config --global --add safe.directory {root.resolve()}` allows it"
            ) from error
        raise UserError(f"{root.resolve()}: no Git history here, or not this commit ({said})") from error


def _run(*arguments: str, given: bytes = b"", root: Path) -> bytes:
    return subprocess.run(["git", *arguments], cwd=root, input=given, capture_output=True, check=True).stdout
