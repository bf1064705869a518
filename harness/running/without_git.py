"""DVC where it cannot work with Git: an unpacked archive, or folders of data that are links to another disk."""

from __future__ import annotations

import sys
from pathlib import Path

from dvc.config import Config
from dvc.repo import Repo
from dvc.scm import SCMError

DATA = ("data", "runs", "predictions")  # that DVC fills and may lie on another disk
LOCAL = Path(".dvc/config.local")


def open_repo() -> Repo:
    """DVC's repository here; where DVC would stop for want of Git, this checkout is first set to do without."""
    linked = [name for name in DATA if Path(name).is_symlink()]
    try:
        repo = Repo(_wait_for_lock=True)
        if not linked or repo.config["core"].get("no_scm"):
            return repo
        why = f"{linked[0]} is a link, which Git does not look behind"
    except SCMError:
        why = "there is no Git history here"
    with Config(str(LOCAL.parent), validate=False).edit("local") as config:
        config["core"] = config.get("core", {}) | {"no_scm": True}
    print(f"{LOCAL}: DVC now works without Git, as {why}; delete the file to undo this", file=sys.stderr)
    return Repo(_wait_for_lock=True)
