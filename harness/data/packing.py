"""What every kind of data but `instruments` does with a clip: decode, resample, pack; or say why not."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from harness.data import audio, blocks
from harness.data.manifest import Row, read_manifest
from harness.data.shards import GrowingArray
from harness.errors import UserError
from harness.files import sha256_of


def pack(row: Row, path: Path) -> tuple[Row, np.ndarray | None]:
    """The row with sha256, duration and status filled in, and int16 (samples,) at 32 kHz where that is `ok`."""
    try:
        if path.is_file():
            row = dataclasses.replace(row, sha256=sha256_of(path))
        waveform, rate = audio.decode_m4a(path) if path.suffix.lower() == ".m4a" else audio.decode(path)
        row = dataclasses.replace(row, duration=len(waveform) / rate)
        clip = audio.to_int16(audio.resample(waveform, rate))
        if not clip.any():
            raise audio.BadAudio("silent", "all samples are zero")
        return row, clip
    except audio.BadAudio as bad:
        return dataclasses.replace(row, status=bad.status, reason=bad.reason), None
    except OSError as error:
        return dataclasses.replace(row, status="unreadable", reason=error.strerror or str(error)), None


def pack_block(work: Path, bases: Sequence[Path], number: int) -> None:
    """Packs the clips that block `number` of `work` lists into its shard, unless that is done for these very files.

    A clip's source is relative to the first of the folders `bases` that has it. Raises UserError where the shard cannot
    be written.
    """
    rows = read_manifest(blocks.listing_path(work, number))
    paths = [_locate(bases, row.source) for row in rows]
    key = blocks.key_of([dataclasses.astuple(row) for row in rows], [_state(path) for path in paths])
    if blocks.is_finished(work, number, key):
        return
    shard = blocks.shard_path(work, number)
    half = shard.with_name(f".{shard.name}.tmp")
    try:
        file = GrowingArray(half, np.int16)
        try:
            packed = []
            for row, path in zip(rows, paths, strict=True):
                clip = None
                if row.status == "ok":
                    row, clip = pack(row, path)
                if clip is not None:
                    row = dataclasses.replace(row, shard=number, offset=file.append(clip), samples=len(clip))
                packed.append(row)
        finally:
            file.close()
        half.replace(shard)
    except OSError as error:
        raise UserError(f"{shard}: cannot be written ({error.strerror}): free space or fix its rights") from error
    if not file.length:
        shard.unlink()  # no good clip: no shard
    blocks.finish(work, number, key, packed, sha256_of(shard) if file.length else "")


def _locate(bases: Sequence[Path], source: str) -> Path:
    return next((base / source for base in bases if (base / source).exists()), bases[0] / source)


def _state(path: Path) -> tuple[int, int] | None:
    """Size and time of the last change: a file changed since its block was packed is packed anew."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns
