"""Work on a long list of clips in blocks, in parallel; after an interruption the next call continues.

A block is finished when its .json is there, written last; it says for which input (`key`) it is. What a block writes
depends on nothing but its input, so neither the number of workers nor an interruption changes a byte.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from importlib.metadata import version
from multiprocessing.connection import wait
from pathlib import Path

import numpy as np
from tqdm import tqdm

from harness.base.errors import UserError
from harness.base.files import read_json, write_atomic, write_json
from harness.data.clips.manifest import Row, read_manifest, write_manifest
from harness.data.clips.shards import shard_name
from harness.data.packing.fingerprints import FINGERPRINT
from harness.records.code_closure import code_fingerprint
from harness.records.provenance import fingerprint_of

WORK = Path(".cache/featurize")  # outside DVC's outputs, which DVC deletes before a stage runs
ROWS = 1024  # clips in a block: 10 s each make a shard of 655 MB
# the modules, with all that they import, and the libraries that a block depends on
CODE = ("harness.data.packing.pack", "harness.data.sources.hdf5", "harness.data.sources.contained")
LIBRARIES = ("numpy", "scipy", "soundfile", "soxr", "h5py", "pyarrow")


def work_folder(preset: str) -> Path:
    """Where the blocks of this code and these libraries are; those of others, and half-written files, are deleted."""
    key = fingerprint_of([[version(name) for name in LIBRARIES], code_fingerprint(*CODE)])[:16]
    folder = WORK / preset / key
    for other in (WORK / preset).glob("*"):
        if other != folder:
            shutil.rmtree(other)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for half in folder.glob(".*.tmp"):
            half.unlink()
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror}): free space or fix its rights") from error
    return folder


def listing_path(work: Path, number: int) -> Path:
    return work / f"listing-{number:05d}.csv"


def block_path(work: Path, number: int) -> Path:
    return work / f"block-{number:05d}.csv"


def write_listing(work: Path, first: int, rows: Iterable[Row]) -> int:
    """Lists `rows`, a block a file, from block `first` on; returns the number of the next block."""
    piece: list[Row] = []
    for row in rows:
        piece.append(row)
        if len(piece) == ROWS:
            write_manifest(listing_path(work, first), piece)
            first, piece = first + 1, []
    if piece:
        write_manifest(listing_path(work, first), piece)
        first += 1
    return first


def is_finished(work: Path, number: int, key: str) -> bool:
    """Whether the block of this input is there; what is there of another one no longer counts after this call."""
    path = block_path(work, number).with_suffix(".json")
    if path.exists() and read_json(path)["key"] == key:
        return True
    path.unlink(missing_ok=True)
    return False


def finish(
    work: Path,
    number: int,
    key: str,
    rows: Sequence[Row],
    fingerprints: Sequence[np.ndarray],
    digest: str,
    rates: Mapping[int, int] | None = None,
) -> None:
    """Writes the block's part of the manifest, the fingerprints of its good rows, and that it is finished; `digest` is
    of its sounds, `rates` counts those that were decoded by their sample rate in Hz."""
    write_manifest(block_path(work, number), rows)
    write_atomic(_fingerprints_path(work, number), lambda file: np.save(file, np.array(fingerprints, FINGERPRINT)))
    write_json(block_path(work, number).with_suffix(".json"), {"key": key, "digest": digest, "rates": rates or {}})


def spans(rows: int) -> list[tuple[int, int]]:
    """The first row of each block of so many rows, and that after its last."""
    return [(first, min(first + ROWS, rows)) for first in range(0, rows, ROWS)]


def key_of_finished(work: Path, number: int) -> str:
    return read_json(block_path(work, number).with_suffix(".json"))["key"]


def finished_block(work: Path, number: int) -> tuple[list[Row], str]:
    """The rows of a finished block, and the digest of its sounds."""
    return read_manifest(block_path(work, number)), read_json(block_path(work, number).with_suffix(".json"))["digest"]


def finished_rates(work: Path, number: int) -> Counter[int]:
    """How many sounds of a finished block were decoded, by their sample rate in Hz."""
    rates = read_json(block_path(work, number).with_suffix(".json"))["rates"]
    return Counter({int(rate): count for rate, count in rates.items()})


def finished_fingerprints(work: Path, number: int) -> np.ndarray:
    """Records of FINGERPRINT, one for each good row of a finished block."""
    return np.load(_fingerprints_path(work, number))


def _fingerprints_path(work: Path, number: int) -> Path:
    return work / f"fingerprints-{number:05d}.npy"


def shard_path(work: Path, number: int) -> Path:
    return work / shard_name(number)


def key_of(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def run_blocks(tasks: Sequence[Callable[[], None]], workers: int | None = None) -> None:
    """Calls every task, in as many processes as there are cores, or `workers`; they must not depend on each other.

    Raises what a task raised (the rest is then not begun), and UserError where a process was killed.
    """
    count = min(workers or cores(), len(tasks))
    bar = tqdm(total=len(tasks), desc="featurize", unit="block", disable=None)
    with bar:
        if count <= 1:
            for task in tasks:
                task()
                bar.update()
            return
        context = multiprocessing.get_context("spawn")  # a fork would copy whatever threads the caller has
        with ProcessPoolExecutor(count, context, initializer=_begin_worker) as pool:
            try:
                for future in as_completed([pool.submit(task) for task in tasks]):
                    future.result()
                    bar.update()
            except BrokenProcessPool as error:
                raise UserError(
                    "featurize: a worker process was killed (out of memory?); run it again to go on, on fewer cores"
                ) from error
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                for child in multiprocessing.active_children():  # a block takes long; a half one is done again
                    child.terminate()
                raise


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _begin_worker() -> None:
    """Leaves Ctrl-C to the parent, and ends when that is killed, which would leave the worker waiting for ever."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
