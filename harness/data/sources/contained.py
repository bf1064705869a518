"""AudioSet in files that hold many encoded recordings with their labels: decoded once, a shard for each piece."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.base.errors import UserError
from harness.data.clips.encoded import as_it_is
from harness.data.clips.hdf5 import Files
from harness.data.clips.labels import Label
from harness.data.clips.manifest import Row, printable
from harness.data.clips.splits import is_held_out
from harness.data.packing import blocks
from harness.data.packing.pack import Packed, index_block, pack, write_block
from harness.data.sources import mp3_hdf5, parquet, tars
from harness.data.sources.catalog import ytid_of
from harness.data.sources.encoded import Encoded, Form
from harness.data.sources.hdf5_parts import states_behind

FORMS: dict[str, Form] = {"mp3_hdf5": mp3_hdf5, "parquet": parquet, "tar": tars}


@dataclass(frozen=True)
class Piece:
    """From `first` to before `last` of a file: what a block covers; of a train file the share `held_out` validates."""

    work: Path
    number: int
    form: str
    path: Path
    first: int
    last: int
    split: str
    held_out: float
    labels: tuple[Label, ...]
    file: int | None  # its number among the split's files, where sounds stay in place


def pieces_of(
    work: Path, form: str, paths: Sequence[Path], split: str, held_out: float, labels: Sequence[Label], in_place: bool
) -> Iterator[Piece]:
    """The blocks of a split's files; all with the number 0. Raises UserError, naming the file that is broken."""
    for number, path in enumerate(paths):
        for first, last in FORMS[form].pieces(path, len(labels)):
            file = number if in_place else None
            yield Piece(work, 0, form, path, first, last, split, held_out, tuple(labels), file)


def pack_piece(piece: Piece) -> None:
    """Packs the recordings of the piece into its shard, or indexes them, unless that is done for this very file.

    Raises UserError where the file is broken, or is changed meanwhile.
    """
    key = key_of_piece(piece)
    if not blocks.is_finished(piece.work, piece.number, key):
        lookup = {label.name: label.mid for label in piece.labels} | {label.mid: label.mid for label in piece.labels}
        rates = Counter[int]()
        found = FORMS[piece.form].read(piece.path, piece.first, piece.last)
        finish = write_block if piece.file is None else index_block
        finish(
            piece.work,
            piece.number,
            key,
            _unchanged(piece, key, (_packed(piece, lookup, each, rates) for each in found)),
            rates,
        )


def _unchanged(piece: Piece, key: str, packed: Iterable[Packed]) -> Iterator[Packed]:
    """All of `packed`, if the file is then as it was."""
    yield from packed
    if not piece.path.exists() or key_of_piece(piece) != key:
        raise UserError(f"{piece.path}: was changed while it was read; run it again when it stays as it is")


def key_of_piece(piece: Piece) -> str:
    """The key of the block when it is packed; in a tar there may be m4a, which only ffmpeg reads."""
    states = [(str(path), state) for path, state in states_of(piece.form, piece.path)]
    where = [str(piece.path), states, piece.first, piece.last, piece.split, piece.file]
    ffmpeg = piece.form == "tar" and shutil.which("ffmpeg") is not None
    return blocks.key_of(
        where, [label.mid for label in piece.labels], [label.name for label in piece.labels], piece.held_out, ffmpeg
    )


def states_of(form: str, path: Path) -> Files:
    """The files that its recordings lie in, as they are now: an HDF5 file may have its data sets in others.

    Raises UserError where one is gone.
    """
    return states_behind(path, mp3_hdf5.SETS) if form == "mp3_hdf5" else as_it_is(path)


def _packed(piece: Piece, lookup: Mapping[str, str], each: Encoded, rates: Counter[int]) -> Packed:
    row = _row(piece, lookup, each)
    return pack(row, each.sound, rates) if row.status == "ok" and each.sound is not None else (row, None)


def _row(piece: Piece, lookup: Mapping[str, str], each: Encoded) -> Row:
    """The row before its sound is looked at; a row that holds nothing at all is a clip that its maker lacked."""
    name = printable(each.name)
    clip = ytid_of(name) or name
    split = "val" if piece.split == "train" and is_held_out(clip, piece.held_out) else piece.split
    mids = [_mid(piece.labels, lookup, label) for label in each.labels]
    labels = ";".join(dict.fromkeys(mid for mid in mids if mid))
    row = Row(clip, split, labels, printable(f"{piece.path.name}:{each.place}"))
    if piece.file is not None:
        row = replace(row, shard=piece.file, offset=each.at)
    if each.problem:
        return replace(row, status="unreadable", reason=printable(each.problem))
    if each.sound is None or not len(each.sound):
        return replace(row, status="missing", reason="there is no sound beside its labels" if mids else "an empty row")
    if not clip:
        return replace(row, status="ghost", reason="empty name")
    unknown = next((label for label, mid in zip(each.labels, mids, strict=True) if not mid), None)
    if unknown is None and mids:
        return row
    reason = "no label" if unknown is None else f"{printable(str(unknown))} is not in data.label_list"
    return replace(row, status="bad_label", reason=reason)


def _mid(labels: Sequence[Label], lookup: Mapping[str, str], label: str | int) -> str | None:
    if isinstance(label, int):
        return labels[label].mid if 0 <= label < len(labels) else None
    return lookup.get(label.strip())
