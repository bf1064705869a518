"""Switching params.yaml to one of the presets."""

from __future__ import annotations

from pathlib import Path

from harness.base import paths
from harness.base.errors import UserError
from harness.base.files import write_bytes
from harness.config.params import load

PRESETS = Path("presets")


def switch(name: str) -> None:
    """Copy presets/NAME.yaml over params.yaml after checking it.

    Raises UserError for an unknown name, and where params.yaml holds edits that no preset has (they would be lost).
    """
    known = sorted(path.stem for path in PRESETS.glob("*.yaml"))
    if name not in known:
        raise UserError(f"preset: {name!r} is not in {PRESETS}/, which has {', '.join(known)}")
    source = PRESETS / f"{name}.yaml"
    load(source)
    content = source.read_bytes()
    if paths.PARAMS.exists():
        current = paths.PARAMS.read_bytes()
        if current not in [path.read_bytes() for path in PRESETS.glob("*.yaml")]:
            raise UserError(
                f"{paths.PARAMS}: has edits that no preset holds; save it as presets/YOURNAME.yaml, then switch"
            )
    write_bytes(paths.PARAMS, content)
    print(f"{paths.PARAMS} is now {source}; `make repro` runs it")
