"""How far each run of the matrix is: `python -m harness status`, from the files that the runs write."""

from __future__ import annotations

import json
import socket
import time
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
from tabulate import tabulate
from tqdm import tqdm

from harness.base import paths
from harness.base.errors import UserError
from harness.config.params import Params
from harness.records.provenance import data_fingerprint, fingerprint_of, stage_parameters
from harness.running.array_task import is_evaluated, is_trained

SILENT = 600.0  # seconds after which a run on another machine counts as lost
COLUMNS = ("run", "state", "epoch", "loss", "val mAP", "clips/s", "left", "last checkpoint", "why")


def status(params: Params) -> int:
    """Print a row a run: waiting, running, stopped, failed (and why), trained, or done, which is evaluated too.

    1 where a run failed or was lost.
    """
    try:
        data_fingerprint(params)
        packed = True
    except UserError:
        packed = False
    rows = [_row(params, name, seed, packed) for name in params.models for seed in params.seeds]
    print(tabulate(rows, headers=COLUMNS, disable_numparse=True))
    counts = Counter(row[1] for row in rows)
    said = "" if packed else f"; no clips are packed for {params.preset} yet"
    print(", ".join(f"{count} {state}" for state, count in counts.items()) + said)
    return 1 if counts["failed"] or counts["lost"] else 0


def _row(params: Params, name: str, seed: int, packed: bool) -> list[str]:
    title, seen = f"{name}-{seed}", _seen(params, name, seed)
    state, why = seen.get("state", "waiting"), seen.get("why", "")
    if state == "running":
        state, why = _alive(seen)
    if state != "running" and packed and is_trained(params, name, seed):
        state, why = ("done" if is_evaluated(params, name, seed) else "trained"), ""
    elif state == "done":  # its weights are no longer here
        seen, state = {}, "waiting"
    left = seen.get("seconds_left") if state == "running" else None
    return [
        title,
        state,
        f"{seen.get('epoch', 0)}/{seen['epochs']}" if seen else "",
        *(f"{seen[key]:.4f}" if key in seen else "" for key in ("train_loss", "val_mAP")),
        f"{seen['clips_per_second']:g}" if state == "running" and "clips_per_second" in seen else "",
        "" if left is None else tqdm.format_interval(left),
        _checkpoint(params.preset, title) if state in ("running", "stopped", "failed", "lost") else "",
        why,
    ]


def _seen(params: Params, name: str, seed: int) -> dict[str, Any]:
    """What the run wrote last; nothing where there is no such file, or it is of other parameters."""
    try:
        seen: dict[str, Any] = json.loads(paths.status(params.preset, name, seed).read_text())
    except (OSError, ValueError):
        return {}
    return seen if seen["parameters"] == fingerprint_of(stage_parameters(params, name)) else {}


def _alive(seen: dict[str, Any]) -> tuple[str, str]:
    """Whether a run that did not say that it ended goes on, as its process or its last words say."""
    silent = time.time() - datetime.fromisoformat(seen["at"]).timestamp()
    if seen["host"] == socket.gethostname():
        try:
            alive = psutil.Process(seen["process"]).create_time() == seen["process_started"]
        except psutil.NoSuchProcess:
            alive = False
        return ("running", "") if alive else ("lost", "its process is gone: killed, perhaps for memory; start it again")
    if silent < SILENT:
        return "running", ""
    return "lost", f"no sign of life from {seen['host']} for {tqdm.format_interval(silent)}"


def _checkpoint(preset: str, title: str) -> str:
    """The newest one's age and place."""
    found = list(paths.RESUME.glob(f"{preset}-{title}/*/?????????.json"))
    if not found:
        return "none"
    ages: dict[Path, float] = {path: time.time() - path.stat().st_mtime for path in found}
    newest = min(ages, key=ages.__getitem__)
    return f"{tqdm.format_interval(ages[newest])} ago, step {int(newest.stem)}"
