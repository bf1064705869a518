"""Writes the same clips in each form in which AudioSet is passed on, with real codecs."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow
import pyarrow.parquet
import soundfile

from harness.data.clips.labels import audioset

RATE = 32_000
COLUMN = {label.mid: label.index for label in audioset()}


@dataclass(frozen=True)
class Made:
    """A clip: `sound` is int16 (samples,) at 32 kHz."""

    id: str
    mids: tuple[str, ...]
    sound: np.ndarray


def made(first: str, count: int, mids: Sequence[str] = ("/m/09x0r", "/m/04rlf"), samples: int = 42_000) -> list[Made]:
    """Noise under a tone whose pitch goes with the label; every third clip has all labels."""
    clips = []
    for index in range(count):
        random = np.random.default_rng([index, *first.encode()])
        own = mids if index % 3 == 2 else (mids[index % len(mids)],)
        time = np.arange(samples) / RATE
        tones = sum(np.sin(2 * np.pi * 300 * 3 ** mids.index(mid) * time) for mid in own)
        sound = 2000 * random.standard_normal(samples) + 4000 * tones
        clips.append(Made(f"{first}{index:010d}", tuple(own), sound.astype(np.int16)))
    return clips


def encoded(clip: Made, kind: str = "FLAC", rate: int = RATE, subtype: str | None = None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, clip.sound, rate, subtype, format=kind)
    return file.getvalue()


def targets(clips: Sequence[Made]) -> np.ndarray:
    found = np.zeros((len(clips), 527), bool)
    for row, clip in enumerate(clips):
        found[row, [COLUMN[mid] for mid in clip.mids]] = True
    return found


def write_waveforms(path: Path, clips: Sequence[Made]) -> None:
    with h5py.File(path, "w") as file:
        file["audio_name"] = np.array([f"Y{clip.id}.wav".encode() for clip in clips], "S20")
        file["waveform"] = np.stack([clip.sound for clip in clips])
        file["target"] = targets(clips)


def write_mp3(path: Path, clips: Sequence[Made], content: Callable[[Made], bytes] | None = None) -> None:
    with h5py.File(path, "w") as file:
        file["audio_name"] = np.array([f"Y{clip.id}.mp3".encode() for clip in clips], "S20")
        sounds = file.create_dataset("mp3", (len(clips),), h5py.vlen_dtype(np.uint8))
        for row, clip in enumerate(clips):
            sounds[row] = np.frombuffer(content(clip) if content else encoded(clip, "MP3"), np.uint8)
        file["target"] = np.packbits(targets(clips), axis=1)


def parquet_rows(clips: Sequence[Made]) -> list[dict[str, Any]]:
    return [
        {
            "video_id": clip.id,
            "audio": {"bytes": encoded(clip), "path": f"audio/{clip.id}.flac"},
            "labels": list(clip.mids),
            "human_labels": ["-"],
        }
        for clip in clips
    ]


def write_parquet(path: Path, clips: Sequence[Made], group: int = 3) -> None:
    write_rows(path, parquet_rows(clips), group)


def write_rows(path: Path, rows: list[dict[str, Any]], group: int = 3) -> None:
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=group)


def tar_members(clips: Sequence[Made]) -> dict[str, bytes]:
    members = {}
    for clip in clips:
        members[f"eval/Y{clip.id}_30.000_40.000.flac"] = encoded(clip)
        labels = {"text": ["a sound"], "tag": list(clip.mids), "original_data": {}}
        members[f"eval/Y{clip.id}_30.000_40.000.json"] = json.dumps(labels).encode()
    return members


def write_tar(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


WRITERS: dict[str, tuple[str, Callable[[Path, Sequence[Made]], None]]] = {  # by form: ending and what writes a file
    "waveforms": ("h5", write_waveforms),
    "parquet": ("parquet", write_parquet),
    "mp3": ("hdf", write_mp3),
    "flac_hdf5": ("hdf", lambda path, clips: write_mp3(path, clips, encoded)),
    "tar": ("tar", lambda path, clips: write_tar(path, tar_members(clips))),
}


def write_form(form: str, folder: Path, clips: dict[str, list[Made]]) -> dict[str, object]:
    """Files of each split, and what names them in data.audioset; `folder` means sound files and segment CSVs."""
    named: dict[str, object] = {}
    for split, own in clips.items():
        if form == "folder":
            below = folder / "audio" / split
            below.mkdir(parents=True)
            for clip in own:
                (below / f"{clip.id}_30.0-40.0.flac").write_bytes(encoded(clip))
            lines = (f'{clip.id}, 30.000, 40.000, "{",".join(clip.mids)}"\n' for clip in own)
            (folder / f"{split}.csv").write_text("".join(lines))
            named |= {f"{split}_segments": (f"{split}.csv",), "audio": ("audio",)}
        else:
            ending, write = WRITERS[form]
            (folder / split).mkdir(exist_ok=True)
            half = (len(own) + 1) // 2
            write(folder / split / f"part00.{ending}", own[:half])
            write(folder / split / f"part01.{ending}", own[half:])
            named[split] = (f"{split}/*.{ending}",)
    return named
