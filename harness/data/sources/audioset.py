"""AudioSet, as the user has it: folders of audio with the segment CSVs, or files with many sounds and their labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from harness.base import paths
from harness.base.errors import UserError
from harness.base.names import spelled_out
from harness.config.params import Data
from harness.data.clips.encoded import IN_PLACE, SOURCES, EncodedReader
from harness.data.clips.forms import form_of, sound_files
from harness.data.clips.hdf5 import Files, Hdf5Reader
from harness.data.clips.labels import Label, audioset, read_label_list
from harness.data.clips.manifest import SPLITS, Attribution, Row
from harness.data.clips.shards import RATE, read_clip
from harness.data.clips.splits import is_held_out
from harness.data.packing import blocks
from harness.data.packing.listed import Plan
from harness.data.packing.pack import listed_key, pack_block
from harness.data.sources.catalog import catalog
from harness.data.sources.contained import Piece, key_of_piece, pack_piece, pieces_of, states_of
from harness.data.sources.hdf5 import Part, index_block, key_of_part, made_of, parts, rows_of
from harness.data.sources.segments import Segment, read_segments

ORDER = ("test", "val", "train")  # of a clip listed twice the first stays: what tests never trains
CREDIT = Attribution(
    "all clips",
    "YouTube, by id",
    "",
    "AudioSet's annotators, as the segment CSVs or the files' targets have it",
    "J. F. Gemmeke and others; each recording is its uploader's",
    "labels CC BY 4.0; recordings under their own terms",
    "https://research.google.com/audioset/",
)


def classes(data: Data, raw: Path) -> list[Label]:
    """Those of data.label_list, of which `fetch` keeps a user's as labels.csv."""
    return list(audioset()) if data.label_list == "audioset" else read_label_list(raw / "labels.csv", data.label_list)


def plan_audioset(data: Data, raw: Path, work: Path) -> Plan:
    """The blocks to pack, or to index where sounds are used in place. Raises UserError where an input is broken."""
    labels = classes(data, raw)
    plan = _plan_files if data.audioset_files.test else _plan_folders
    return plan(data, raw, work, labels)


def _plan_folders(data: Data, raw: Path, work: Path, labels: list[Label]) -> Plan:
    roots = spelled_out("data.audioset.audio", data.audioset_files.audio or ())
    files, mids, seen, matched = catalog(roots), {label.mid for label in labels}, set[bytes](), False

    def rows(split: str, name: str, path: Path) -> Iterator[Row]:
        nonlocal matched
        for segment in read_segments(path, name):
            found = files.find(segment.id)
            matched = matched or found is not None
            row = _row(data, split, segment, found or "")
            status, reason = "ok", ""
            unknown = next((mid for mid in segment.mids if mid not in mids), None)
            if segment.id.encode() in seen:
                status, reason = "duplicate", "listed before, here or in another split"
            elif unknown or not segment.mids:
                status, reason = "bad_label", f"{unknown} is not in data.label_list" if unknown else "no label"
            elif found is None:
                status, reason = "missing", "no file in data.audioset.audio is named after it"
            seen.add(segment.id.encode())
            yield dataclasses.replace(row, status=status, reason=reason)

    sources: list[str] = []
    for split, name, path in _listings(data, raw):
        end = blocks.write_listing(work, len(sources), rows(split, name, path))
        sources += [Path(name).name] * (end - len(sources))
    if not matched:
        there = "no recording is there that is"
        if len(files.ids):
            there = f"none of the {len(files.ids)} recordings, such as {files.names[0].decode()}, is"
        raise UserError(
            f"data.audioset.audio: {there} listed in the segment CSVs; name the folders that hold those clips, or the "
            "CSVs that list these"
        )
    in_place = data.audioset_files.in_place
    plan = Plan(
        labels,
        [partial(pack_block, work, roots, number, in_place=in_place) for number in range(len(sources))],
        [partial(listed_key, work, roots, number, in_place=in_place) for number in range(len(sources))],
        sources,
        CREDIT,
    )
    if not in_place:
        return plan
    return dataclasses.replace(
        plan,
        reader=lambda folder, split: EncodedReader("files", (folder / SOURCES, *roots), ()),
        keeps_paths=True,
        extra={"in_place": dict.fromkeys(SPLITS, "files")},
    )


def _plan_files(data: Data, raw: Path, work: Path, labels: list[Label]) -> Plan:
    given = data.audioset_files
    samples, mids = round(data.clip_seconds * RATE), tuple(label.mid for label in labels)
    paths_of = {split: sound_files(given, split) for split in SPLITS}
    in_place: dict[str, list[tuple[Path, Files, int]]] = {split: [] for split in SPLITS}
    todo: list[Part | Piece] = []
    for split in ORDER:
        forms = {form_of(path): path for path in paths_of[split]}
        if len(forms) > 1:
            two = " and ".join(str(path) for path in list(forms.values())[:2])
            raise UserError(f"data.audioset.{split}: {two} differ in form; name files of one form for a split")
        for form in forms:
            if form == "waveforms":
                in_place[split] = [
                    (path, made_of(path), rows_of(path, len(labels), samples)) for path in paths_of[split]
                ]
                todo += parts(work, split, in_place[split], given.held_out_fraction, mids)
            elif form:
                if given.in_place and form not in IN_PLACE:
                    path = f"{paths_of[split][0]} is {form}, of which a row cannot be read without those before it"
                    raise UserError(f"data.audioset.in_place: is true, but {path}; say false")
                todo += pieces_of(work, form, paths_of[split], split, given.held_out_fraction, labels, given.in_place)
    todo = [dataclasses.replace(part, number=number) for number, part in enumerate(todo)]
    listed = _Listed(data, raw)
    encoded = {part.split: part.form for part in todo if isinstance(part, Piece) and part.file is not None}

    encoded_files = {split: [states_of(form, path) for path in paths_of[split]] for split, form in encoded.items()}

    def reader(folder: Path, split: str) -> Callable[[int, int, int], np.ndarray]:
        place = given.split_with_files(split)
        files = in_place[place]
        if place in encoded:
            return EncodedReader(encoded[place], paths_of[place], tuple(encoded_files[place]))
        if not files:
            return partial(read_clip, folder)
        return Hdf5Reader(tuple(path for path, _, _ in files), tuple(all_of for _, all_of, _ in files))

    return Plan(
        labels,
        [partial(index_block, part) if isinstance(part, Part) else partial(pack_piece, part) for part in todo],
        [partial(key_of_part, part) if isinstance(part, Part) else partial(key_of_piece, part) for part in todo],
        [part.path.name for part in todo],
        CREDIT,
        known=listed.known,
        revise=listed.revise,
        absent=listed.absent,
        reader=reader,
        made_of={split: [all_of for _, all_of, _ in files] for split, files in in_place.items()} | encoded_files,
        extra={"hdf5_rows": {split: [rows for _, _, rows in files] for split, files in in_place.items()}}
        | ({"in_place": encoded} if encoded else {}),
    )


class _Listed:
    """What segment CSVs given beside files of sounds list, in 12 bytes a clip, and which of it was met."""

    def __init__(self, data: Data, raw: Path) -> None:
        self._data, self._files = data, list(_listings(data, raw))
        given = data.audioset_files
        self.known = {split: bool(given.files("segments")[given.split_with_files(split)]) for split in SPLITS}
        ids = (each.id.encode() for _, name, path in self._files for each in read_segments(path, name))
        self._ids = np.unique(np.fromiter(ids, "S11"))
        self._met = np.zeros(len(self._ids), bool)
        self._seen: set[bytes] = set()

    def revise(self, row: Row) -> tuple[Row, bool]:
        """An id's second good row is a duplicate; rows that are not listed count as extra ones, not as covered."""
        name = row.id.encode()
        if row.status == "ok":
            if name in self._seen:
                row = dataclasses.replace(row, status="duplicate", reason="its name came before")
                row = dataclasses.replace(row, shard=-1, offset=-1, samples=-1)
            self._seen.add(name)
        place = self._place(name)
        listed = self.known[row.split] and place is not None and not self._met[place]
        if place is not None:
            self._met[place] = True
        return row, listed

    def absent(self) -> Iterator[tuple[Row, str]]:
        """The clips that are listed and that no row was."""
        for split, name, path in self._files:
            for segment in read_segments(path, name):
                place = self._place(segment.id.encode())
                if place is not None and not self._met[place]:
                    self._met[place] = True
                    row = _row(self._data, split, segment, "")
                    yield dataclasses.replace(row, status="missing", reason="in none of the files"), Path(name).name

    def _place(self, name: bytes) -> int | None:
        place = int(np.searchsorted(self._ids, name))
        return place if place < len(self._ids) and self._ids[place] == name else None


def _listings(data: Data, raw: Path) -> Iterator[tuple[str, str, Path]]:
    """Split, name and fetched copy of every segment CSV, what tests first."""
    given = data.audioset_files.files("segments")
    for split in ORDER:
        names = spelled_out(f"data.audioset.{split}_segments", given[split])
        for number, name in enumerate(map(str, names)):
            yield split, name, raw / paths.fetched_segments(split, number)


def _row(data: Data, split: str, segment: Segment, source: str) -> Row:
    if split == "train" and is_held_out(segment.id, data.audioset_files.held_out_fraction):
        split = "val"
    return Row(segment.id, split, ";".join(segment.mids), source)
