"""Whether the clips that were featurized last are still there, and what they were made from is as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version
from pathlib import Path

from harness.base import paths
from harness.base.files import read_json, state_of, write_json
from harness.config.params import Params
from harness.data.packing import blocks
from harness.records.code_closure import stage_fingerprint
from harness.records.provenance import as_plain, fingerprint_of


def is_unchanged(params: Params, keys: Sequence[Callable[[], str]]) -> bool:
    """Whether remember() was called for the same parameters, tables, code and blocks, and all files are as they were.

    `keys` give the blocks' keys, which go by the size and time of every source file. No sound is read.
    """
    path = _record(params.preset)
    if not path.exists():
        return False
    record = read_json(path)
    return record["files"] == _states(params.preset) and record["made_from"] == _made_from(
        params, (key() for key in keys)
    )


def remember(params: Params, work: Path, count: int) -> None:
    """To be called when all is written, and the `count` finished blocks are still in `work`."""
    made_from = _made_from(params, (blocks.key_of_finished(work, number) for number in range(count)))
    write_json(_record(params.preset), {"made_from": made_from, "files": _states(params.preset)})


def _record(preset: str) -> Path:
    return blocks.WORK / f"{preset}.json"


def _made_from(params: Params, keys: Iterable[str]) -> str:
    data = {key: value for key, value in as_plain(params.data).items() if key not in ("max_bad_fraction", "mirror")}
    versions = [version(name) for name in blocks.LIBRARIES]
    files = (path for path in paths.raw(params.data.kind).rglob("*") if path.is_file())
    if params.data.kind == "esc50":  # which has no blocks
        sounds = sorted((params.data.base / "audio").glob("*"))
        keys = [*keys, *(f"{path.name} {state_of(path)}" for path in sounds)]
    return blocks.key_of(
        fingerprint_of([data, params.preset, versions, stage_fingerprint("featurize")], files), list(keys)
    )


def _states(preset: str) -> dict[str, list[int]]:
    """Size and time of every file that featurize writes and that is there."""
    results = paths.results(preset)
    written = (results / name for name in ("data.json", "coverage.csv", "leakage.csv"))
    found = [*paths.packed(preset).glob("*"), *written]
    states = {str(path): path.stat() for path in sorted(found) if path.exists()}
    return {name: [state.st_size, state.st_mtime_ns] for name, state in states.items()}
