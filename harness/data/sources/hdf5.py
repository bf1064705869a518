"""Indexes HDF5 files as PANNs packs them: a row a clip of `audio_name`, `waveform` (int16 or float32), `target`."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import numpy as np

from harness.base.errors import UserError, some
from harness.data.clips.decoding import LOUDEST
from harness.data.clips.hdf5 import Files, opened, require_unchanged
from harness.data.clips.manifest import Row, printable
from harness.data.clips.shards import RATE, to_int16
from harness.data.clips.splits import is_held_out
from harness.data.packing import blocks
from harness.data.packing.fingerprints import clip_fingerprint
from harness.data.sources.catalog import ytid_of
from harness.data.sources.hdf5_parts import states_behind

SETS = ("audio_name", "waveform", "target")
RATES = ("sample_rate", "sampling_rate", "samplerate", "sr", "fs")  # attributes that state one; PANNs writes the first
SECONDS = 10  # of AudioSet's clips


def made_of(path: Path) -> Files:
    """The files that its rows lie in, as they are now.

    Raises UserError where one of them is missing, or states a rate other than 32 kHz: rows are used as they lie.
    """
    found = states_behind(path, SETS)
    stated = [_require_rate(part) for part, _ in found if h5py.is_hdf5(part)]  # all of them
    if not any(stated):
        with opened(path) as file:
            waveforms = file.get("waveform")
            length = waveforms.shape[-1] if isinstance(waveforms, h5py.Dataset) and waveforms.shape else 0
        if length != SECONDS * RATE:
            other = f"{length / SECONDS:g} Hz" if length % SECONDS == 0 else "another rate"
            if_so = f"if it is {SECONDS} s, the file is at {other}: pack it at {RATE} Hz"
            seconds = f"a row is {length / RATE:g} s at {RATE} Hz, as which it is taken"
            print(f"{path}: states no sample rate, and {seconds}; {if_so}", file=sys.stderr)
    return found


def _require_rate(path: Path) -> bool:
    """Whether the file states its sample rate, itself or on `waveform`; raises UserError for one that is not 32 kHz."""
    with opened(path) as file:
        waveforms = file.get("waveform")
        places = [file.attrs, *([waveforms.attrs] if waveforms is not None else [])]
        stated = [(name, place[name]) for place in places for name in RATES if name in place]
        stated += [(name, file[name][()]) for name in RATES if isinstance(file.get(name), h5py.Dataset)]
    for name, value in stated:
        if set(np.asarray(value).ravel().tolist()) != {RATE}:
            text = " ".join(str(value).split())[:40]
            raise UserError(f"{path}: its {name} is {text}, must be {RATE}, as rows are used as they lie; pack it so")
    return bool(stated)


def rows_of(path: Path, classes: int, samples: int) -> int:
    """How many rows `path` has. Raises UserError, naming file and data set, unless it is packed as PANNs does.

    `samples` is the shortest waveform allowed: packed at another rate, ten seconds would have another length.
    """
    with opened(path) as file:
        names, waveforms, targets = data_sets(path, file, SETS, "pack it as PANNs does")
        text = names.dtype.kind == "S" or h5py.check_string_dtype(names.dtype) is not None
        long_enough = waveforms.ndim == 2 and waveforms.shape[1] >= samples
        checks = [
            (names, text and names.ndim == 1, "must be bytes (rows,)"),
            (
                waveforms,
                waveforms.dtype in (np.int16, np.float32) and long_enough,
                f"must be int16 or float32 (rows, {samples} or more), which is data.clip_seconds at {RATE} Hz",
            ),
            (
                targets,
                targets.dtype == np.bool_ and targets.ndim == 2 and targets.shape[1] == classes,
                f"must be bool (rows, {classes}), a column for each class of data.label_list",
            ),
        ]
        for dataset, good, rule in checks:
            if not good:
                found = f"{dataset.dtype} {dataset.shape}"
                raise UserError(f"{path}: data set `{dataset.name[1:]}` is {found}, {rule}")
        return common_length(path, file, SETS)


def data_sets(path: Path, file: h5py.File, names: Sequence[str], remedy: str) -> list[h5py.Dataset]:
    """Those of an open file. Raises UserError, naming file and data set, where one is missing."""
    for name in names:
        if not isinstance(file.get(name), h5py.Dataset):
            raise UserError(f"{path}: no data set `{name}` (it has: {some(file)}); {remedy}")
    return [file[name] for name in names]


def common_length(path: Path, file: h5py.File, names: Sequence[str]) -> int:
    """The number of rows of each of these data sets. Raises UserError where they differ, or there is none."""
    lengths = {name: len(file[name]) for name in names}
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise UserError(f"{path}: its data sets differ in their number of rows ({counts}); give the whole file")
    if not lengths[names[0]]:
        raise UserError(f"{path}: no row in it; give the whole file")
    return lengths[names[0]]


def text_of(name: bytes | str) -> str:
    """A name as HDF5 holds it: padded with zeros or spaces, perhaps not UTF-8."""
    return (name.decode("utf-8", "backslashreplace") if isinstance(name, bytes) else name).rstrip("\0 ")


@dataclass(frozen=True)
class Part:
    """Rows `first` to `last` - 1 of the `file`-th HDF5 file of a split: what one block covers."""

    work: Path
    number: int
    path: Path
    file: int
    first: int
    last: int
    split: str
    held_out: float  # share of a train file that validates
    mids: tuple[str, ...]
    made_of: Files  # as they were before any row was read


def index_block(part: Part) -> None:
    """A manifest row for every row of the part, and a digest of all samples.

    A row is `ok`, `ghost`, `silent` (one value throughout) or `unreadable` (its waveform alone).
    """
    key = key_of_part(part)
    if blocks.is_finished(part.work, part.number, key):
        return
    digest, rows, fingerprints = hashlib.sha256(), [], []
    with opened(part.path) as file:
        names = file["audio_name"][part.first : part.last]
        targets = file["target"][part.first : part.last]
        waveforms = file["waveform"]
        length = waveforms.shape[1]
        for number, name, target in zip(range(part.first, part.last), names, targets, strict=True):
            row = _row(part, number, name, target, length)
            try:
                waveform = waveforms[number]
            except OSError as error:
                rows.append(_bad(row, "unreadable", printable(" ".join(str(error).split()))))
                continue
            digest.update(waveform.tobytes())
            bad = _out_of_scale(waveform)
            if bad:
                rows.append(_bad(row, *bad))
                continue
            waveform = waveform if waveform.dtype == np.int16 else to_int16(waveform)
            rows.append(_heard(row, waveform))
            if rows[-1].status == "ok":
                fingerprints.append(clip_fingerprint(waveform))
    require_unchanged(part.path, part.made_of)  # rows of a file that vanished are zeros
    blocks.finish(part.work, part.number, key, rows, fingerprints, digest.hexdigest())


def key_of_part(part: Part) -> str:
    """The key of the block when it is indexed."""
    where = [str(part.path), part.file, part.first, part.last, [(str(path), state) for path, state in part.made_of]]
    return blocks.key_of(where, part.split, part.held_out, part.mids)


def _row(part: Part, number: int, name: bytes | str, target: np.ndarray, length: int) -> Row:
    text = printable(text_of(name))
    clip = ytid_of(text) or text
    labels = ";".join(part.mids[column] for column in np.flatnonzero(target))
    split = "val" if part.split == "train" and is_held_out(clip, part.held_out) else part.split
    place = f"{part.path.name}:{number}"
    row = Row(clip, split, labels, place, duration=length / RATE, shard=part.file, offset=number, samples=length)
    reason = "empty name" if not clip else "no label" if not labels else ""
    return _bad(row, "ghost", reason) if reason else row


def _heard(row: Row, waveform: np.ndarray) -> Row:
    """The row after a look at its samples; one that holds nothing at all is a clip that PANNs lacked."""
    if not (row.id or row.labels or waveform.any()):
        return _bad(row, "missing", "an empty row")
    if row.status != "ok" or _varies(waveform):
        return row
    if waveform.any():
        return _bad(row, "silent", "all samples are the same")
    return _bad(row, "ghost", "all samples are zero")


def _out_of_scale(waveform: np.ndarray) -> tuple[str, str] | None:
    """Status and reason, if the samples are floats that no sound has."""
    peak = float(np.abs(waveform).max()) if waveform.dtype != np.int16 else 0.0
    if not np.isfinite(peak):
        return "not_finite", "NaN or infinite samples"
    if peak > LOUDEST:
        return "out_of_range", f"peak {peak:.3g} times full scale: samples must be scaled to -1..1"
    return None


def _varies(waveform: np.ndarray) -> bool:
    return bool((waveform != waveform[0]).any())


def _bad(row: Row, status: str, reason: str) -> Row:
    return replace(row, status=status, reason=reason, shard=-1, offset=-1, samples=-1)


def parts(
    work: Path, split: str, files: Sequence[tuple[Path, Files, int]], held_out: float, mids: tuple[str, ...]
) -> Iterator[Part]:
    """The blocks of a split's files, given with what they are made of and their rows; all with number 0."""
    for file, (path, all_of, rows) in enumerate(files):
        for first, last in blocks.spans(rows):
            yield Part(work, 0, path, file, first, last, split, held_out, mids, all_of)
