"""Whether a sound file ends before its own header says that it should."""

from __future__ import annotations

import os
import re
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import BinaryIO

import soundfile

TOLERATED = 0.01  # seconds: writers round sizes
STREAMED = 0x7FFF0000  # bytes; sizes from here on are what programs write that do not know the size yet
SIZES = re.compile(r"^\s*(?:data|SSND|Data Size)\s*: (\d+) \(should be (\d+)\)", re.MULTILINE)  # in libsndfile's log
LARGEST_PAGE = 65307  # bytes of an Ogg page (RFC 3533)
END_OF_STREAM = 4  # in an Ogg page's flags
ID3 = 10  # bytes of an ID3v2 tag's header


def cut_short(source: Path | BinaryIO, sound: soundfile.SoundFile, wanted: int, found: int) -> str:
    """What is missing of a file or its content, open as `sound`, of whose `wanted` frames `found` were read, or "".

    wav, aiff, au and caf by the size of their data, flac and mp3 by the length in their header, ogg by the mark and the
    position of its last page. Nothing is known of an mp3 without a length in its header.
    """
    if sound.format == "OGG" and not _ends(source):
        return "cut short: its last page is missing"
    sizes = SIZES.search(sound.extra_info)
    if sizes and found:
        declared, there = map(int, sizes.groups())
        missing = sound.frames * (declared / max(there, 1) - 1) / sound.samplerate
        if declared < STREAMED and missing > TOLERATED:
            return f"cut short: {there} of {declared} bytes of sound are there"
    if wanted - found > TOLERATED * sound.samplerate and not (sound.format == "MP3" and not _has_length(source)):
        return f"cut short or damaged: {found} of {sound.frames} samples are there"
    return ""


def _again(source: Path | BinaryIO) -> AbstractContextManager[BinaryIO]:
    """The file anew, or its content, which soundfile has read."""
    return open(source, "rb") if isinstance(source, Path) else nullcontext(source)


def _ends(source: Path | BinaryIO) -> bool:
    """Whether the last Ogg page is whole and marked as the last."""
    with _again(source) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 2 * LARGEST_PAGE))
        tail = file.read()
    page = tail[tail.rfind(b"OggS") :]
    if len(page) < 27 or len(page) < 27 + page[26]:
        return False
    return bool(page[5] & END_OF_STREAM) and len(page) >= 27 + page[26] + sum(page[27 : 27 + page[26]])


def _has_length(source: Path | BinaryIO) -> bool:
    """Whether the first frame of an mp3 is a Xing or Info header, as encoders write them since LAME."""
    with _again(source) as file:
        file.seek(0)
        head = file.read(ID3)
        tag = sum(byte << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=False))
        file.seek(ID3 + tag if head.startswith(b"ID3") else 0)
        frame = file.read(64)
    return b"Xing" in frame or b"Info" in frame
