"""What every kind of data but `instruments` does with a clip: decode, resample, pack; or say why not."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from harness.base.errors import UserError
from harness.base.files import sha256_of
from harness.data.clips import decoding as audio
from harness.data.clips.manifest import Row, read_manifest
from harness.data.clips.shards import GrowingArray, to_int16
from harness.data.packing import blocks
from harness.data.packing.fingerprints import clip_fingerprint

Packed = tuple[Row, np.ndarray | None]


def pack(row: Row, source: Path | bytes, rates: Counter[int] | None = None) -> Packed:
    """The row with sha256, duration and status filled in, and int16 (samples,) at 32 kHz where that is `ok`.

    `source` is a file, or the content of one. `rates` counts the good ones by their sample rate in Hz.
    """
    try:
        if isinstance(source, Path):
            audio.check_file(source)
        digest = sha256_of(source) if isinstance(source, Path) else hashlib.sha256(source).hexdigest()
        row = dataclasses.replace(row, sha256=digest)
        sound = audio.read_sound(source)
        row = dataclasses.replace(row, duration=sound.seconds)
        audio.check_sound(sound)
        clip = to_int16(audio.resample(sound.waveform, sound.rate))
        if not clip.any():
            raise audio.BadAudio("silent", "nothing of it is left at 32 kHz")
        if rates is not None:
            rates[sound.rate] += 1
        return row, clip
    except audio.BadAudio as bad:
        return dataclasses.replace(row, status=bad.status, reason=bad.reason), None
    except OSError as error:
        return dataclasses.replace(row, status="unreadable", reason=error.strerror or str(error)), None


def pack_each(rows: Sequence[Row], folder: Path) -> Iterator[Packed]:
    """The same for each of the rows, from its source in `folder`."""
    for row in tqdm(rows, desc="decode", unit="clip", disable=None):
        yield pack(row, folder / row.source)


def pack_block(work: Path, bases: Sequence[Path], number: int, in_place: bool = False) -> None:
    """Packs the clips that block `number` of `work` lists into its shard, unless that is done for these very files;
    `in_place`: only indexes them.

    A clip's source is relative to the first of the folders `bases` that has it. Raises UserError as write_block does.
    """
    rows = read_manifest(blocks.listing_path(work, number))
    paths = [locate(bases, row.source) for row in rows]
    key = _key(rows, paths, in_place)
    if blocks.is_finished(work, number, key):
        return
    rates, pairs = Counter[int](), zip(rows, paths, strict=True)
    packed = (pack(row, path, rates) if row.status == "ok" else (row, None) for row, path in pairs)
    (index_block if in_place else write_block)(work, number, key, packed, rates)


def index_block(work: Path, number: int, key: str, packed: Iterable[Packed], rates: Counter[int]) -> None:
    """Finishes block `number` without a shard: its rows say where the sounds are, to be decoded when they are read."""
    digest, rows, fingerprints = hashlib.sha256(), [], []
    for row, clip in packed:
        if clip is None:
            row = dataclasses.replace(row, shard=-1, offset=-1)
        else:
            digest.update(clip.tobytes())
            fingerprints.append(clip_fingerprint(clip))
            row = dataclasses.replace(row, shard=max(row.shard, 0), samples=len(clip))
        rows.append(row)
    blocks.finish(work, number, key, rows, fingerprints, digest.hexdigest(), rates)


def write_block(work: Path, number: int, key: str, packed: Iterable[Packed], rates: Counter[int]) -> None:
    """Finishes block `number` with these rows, the clips of those that are `ok` in its shard; `rates` are as pack has
    counted them when the last row was taken.

    Raises UserError where the shard cannot be written.
    """
    shard = blocks.shard_path(work, number)
    half = shard.with_name(f".{shard.name}.{os.getpid()}.tmp")  # a worker outlives its killed parent by a moment
    try:
        file = GrowingArray(half, np.int16)
        try:
            rows, fingerprints = [], []
            for row, clip in packed:
                if clip is not None:
                    fingerprints.append(clip_fingerprint(clip))
                    row = dataclasses.replace(row, shard=number, offset=file.append(clip), samples=len(clip))
                rows.append(row)
        finally:
            file.close()
        half.replace(shard)
    except OSError as error:
        raise UserError(f"{shard}: cannot be written ({error.strerror}): free space or fix its rights") from error
    if not file.length:
        shard.unlink()  # no good clip: no shard
    blocks.finish(work, number, key, rows, fingerprints, sha256_of(shard) if file.length else "", rates)


def listed_key(work: Path, bases: Sequence[Path], number: int, in_place: bool = False) -> str:
    """The key that pack_block gives the block when it has packed it."""
    rows = read_manifest(blocks.listing_path(work, number))
    return _key(rows, [locate(bases, row.source) for row in rows], in_place)


def _key(rows: Sequence[Row], paths: Sequence[Path], in_place: bool) -> str:
    ffmpeg = any(path.suffix.lower() == ".m4a" for path in paths) and shutil.which("ffmpeg") is not None
    states = [_state(path) for path in paths]
    return blocks.key_of([dataclasses.astuple(row) for row in rows], states, ffmpeg, in_place)


def locate(bases: Sequence[Path], source: str) -> Path:
    return next((base / source for base in bases if os.path.exists(base / source)), bases[0] / source)


def _state(path: Path) -> tuple[int, int, int, int] | None:
    """Size, time of the last change, inode and rights: a file changed since its block was packed is packed anew."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_size, found.st_mtime_ns, found.st_ino, found.st_mode
