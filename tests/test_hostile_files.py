"""Tarballs and SoundFonts made to escape, to fill the machine or to break the reader. No zip is unpacked to disk."""

from __future__ import annotations

import contextlib
import gzip
import random
import resource
import struct
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.base.errors import UserError
from harness.data.fetching import npm_files
from harness.data.fetching.npm_files import MAX_BYTES, MAX_MEMBERS, MAX_UNPACKED, Package, extract
from harness.data.sources import soundfont
from harness.data.sources.soundfont import read_soundfont

PACKAGE = Package("supersonic-scsynth-samples", "0", "bomb.tgz", 0, "")


@contextlib.contextmanager
def little_memory() -> Iterator[None]:
    """Half a gigabyte more than now, so that a bomb that goes off fails the test and not the machine."""
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if sys.platform == "linux" else 0
    before = resource.getrlimit(resource.RLIMIT_AS)
    if pages:
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 512 * 1024**2, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def member(name: str, content: bytes = b"", **more: Any) -> bytes:
    """One member as it lies in a tar."""
    info = tarfile.TarInfo(name)
    for key, value in {"size": len(content), **more}.items():
        setattr(info, key, value)
    return info.tobuf(tarfile.GNU_FORMAT) + content + bytes(-len(content) % 512)


def refused(folder: Path, tar: bytes, repeats: int = 1) -> str:
    """The one line that `extract` says, having written nothing, in a few seconds."""
    path = folder / "bomb.tgz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(repeats):
            file.write(tar)
    started = time.process_time()
    with little_memory(), pytest.raises(UserError) as caught:
        extract(PACKAGE, path, folder / "deep" / "folder")
    assert time.process_time() - started < 10
    assert [found.name for found in folder.rglob("*") if not found.is_dir()] == ["bomb.tgz"]
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"{path}: ")


HEADER = 64 * 1024**2


@pytest.mark.parametrize(
    ("tar", "repeats", "said"),
    [
        (bytes(1024**2), MAX_UNPACKED // 1024**2 + 1, "lacks package/"),
        (member("big", size=MAX_UNPACKED) + bytes(1024**2), MAX_UNPACKED // 1024**2 + 1, "no readable tarball"),
        (member("x") * 100, MAX_MEMBERS // 100 + 1, f"no readable tarball (it has more than {MAX_MEMBERS} members)"),
        (member("x", size=2 * HEADER, type=b"x") + bytes(HEADER), 9, "no readable tarball"),
        (member("x", size=8 * 1024**3 - 1, type=b"L") + bytes(HEADER), 9, "no readable tarball (it unpacks to more"),
        (member("x", type=b"x") * 5000, 1, "no readable tarball"),
        (member("package/LICENSE", size=MAX_BYTES + 1), 1, "package/LICENSE is not the file listed"),
        (member("package/LICENSE", b"x", size=1000), 1, "no readable tarball"),
        (member("package/LICENSE", type=tarfile.SYMTYPE, linkname="/etc/passwd"), 1, "package/LICENSE is not"),
        (member("package/LICENSE", type=tarfile.LNKTYPE, linkname="../../bomb.tgz"), 1, "package/LICENSE is not"),
        (member("package/LICENSE", type=tarfile.CHRTYPE, devmajor=1, devminor=5), 1, "package/LICENSE is not"),
        (member("../up", b"x") + member("/tmp/up", b"x") + member("package/../../up", b"x"), 1, "lacks package/"),
        (b"no tar" * 1000, 1, "no readable tarball"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_hostile_tarballs_are_refused(tmp_path: Path, tar: bytes, repeats: int, said: str) -> None:
    assert refused(tmp_path, tar, repeats).startswith(said)


def test_damaged_tarballs_are_refused_in_one_line(tmp_path: Path) -> None:
    """Bytes changed and cut off at random, before and after compression."""
    draw = random.Random(0)
    tar = (
        member("package/LICENSE", b"x" * 600)
        + member("a" * 90, b"y", type=b"x")
        + member("b", b"10 a=b\n\n", type=b"x")
    )
    for turn in range(200):
        damaged = bytearray(tar + member("c") + bytes(1024))
        for _ in range(draw.randint(1, 20)):
            damaged[draw.randrange(len(damaged))] = draw.choice(b"\0\xff0179xLKSg ")
        packed = bytearray(gzip.compress(bytes(damaged)))
        if turn % 2:
            packed = packed[: draw.randrange(len(packed))] if turn % 4 == 1 else packed
            packed[draw.randrange(len(packed)) if packed else 0 : 0] = b"\xff"
        path = tmp_path / "damaged.tgz"
        path.write_bytes(packed)
        with pytest.raises(UserError, match=r"damaged\.tgz: "):
            extract(PACKAGE, path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_targets_in_the_list_stay_in_their_folder() -> None:
    for row in npm_files.listed():
        target = Path(row["target"])
        assert not target.is_absolute() and ".." not in target.parts and len(row["sha256"]) == 64


def chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content


def font(samples: bytes = b"Oggs" * 25, **tables: list[tuple[Any, ...]]) -> bytes:
    """A whole SF3 file of one preset, one instrument and one sample, with some tables exchanged."""
    records: dict[str, list[tuple[Any, ...]]] = {
        "phdr": [(b"Piano", 0, 0, 0, 0, 0, 0), (b"EOP", 0, 0, 1, 0, 0, 0)],
        "pbag": [(0, 0), (1, 0)],
        "pgen": [(soundfont.INSTRUMENT, 0), (0, 0)],
        "inst": [(b"Piano", 0), (b"EOI", 1)],
        "ibag": [(0, 0), (1, 0)],
        "igen": [(soundfont.SAMPLE_ID, 0), (0, 0)],
        "shdr": [(b"C4", 0, 100, 0, 0, 44100, 60, 0, 0, 16), (b"EOS", 0, 0, 0, 0, 0, 0, 0, 0, 0)],
    } | tables
    packed = {name: b"".join(struct.pack(soundfont.RECORDS[name], *row) for row in records[name]) for name in records}
    pdta = b"pdta" + b"".join(chunk(name.encode(), content) for name, content in packed.items())
    return chunk(b"RIFF", b"sfbk" + chunk(b"LIST", b"sdta" + chunk(b"smpl", samples)) + chunk(b"LIST", pdta))


def sample(first: int, end: int) -> tuple[Any, ...]:
    return (b"x", first, end, 0, 0, 44100, 60, 0, 0, 16)


END = sample(0, 0)
MANY = 65_000
ZONES = [(soundfont.SAMPLE_ID, 0)] * MANY


def test_a_whole_font_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.sf3").write_bytes(font())
    (only,) = read_soundfont(tmp_path / "a.sf3")
    assert (only.name, only.content, only.uses) == ("C4", b"Oggs" * 25, (soundfont.Use(0, 0, 0, 127),))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (lambda: font(shdr=[sample(0, 101), END]), "sample 0 reaches past"),
        (lambda: font(shdr=[sample(50, 20), END]), "sample 0 reaches past"),
        (lambda: font(shdr=[sample(2**32 - 1, 2**32 - 1), END]), "sample 0 reaches past"),
        (
            lambda: font(bytes(10**6), shdr=[sample(0, 10**6)] * 60_000 + [END]),
            "sample 1 reaches past the samples' end, or",
        ),
        (lambda: font(shdr=[sample(0, 0)] * 70_000), "shdr has more than 65536 records"),
        (lambda: font(igen=ZONES + ZONES), "igen has more than 65536 records"),
        (
            lambda: font(
                inst=[(b"i", 0), (b"EOI", MANY - 1)],
                ibag=[(index, 0) for index in range(MANY)],
                igen=ZONES,
                phdr=[(b"p", 0, 0, 0, 0, 0, 0), (b"EOP", 0, 0, MANY - 1, 0, 0, 0)],
                pbag=[(index, 0) for index in range(MANY)],
                pgen=[(soundfont.INSTRUMENT, 0)] * MANY,
            ),
            "its presets play samples more than 100000 times",
        ),
        (
            lambda: font(inst=[(b"i", 0), (b"i", 1)] * 30_000, ibag=[(0, 0), (MANY, 0)] * 30_000, igen=ZONES),
            "the indices in inst or ibag do not rise",
        ),
        (lambda: font(phdr=[(b"p", 0, 0, 0, 0, 0, 0), (b"E", 0, 0, 65535, 0, 0, 0)]), "list index out of range"),
        (
            lambda: chunk(b"RIFF", b"sfbk" + chunk(b"LIST", b"pdta" + b"phdr" + b"\xff" * 4)),
            "chunk b'phdr' reaches past",
        ),
        (lambda: b"RIFF\xff\xff\xff\xffsfbk" + b"LIST\xff\xff\xff\xff" * 100_000, "chunk b'LIST' reaches past"),
        (lambda: b"RIFF\xff\xff\xff\xffsfbk" + b"LIST\x04\0\0\0pdta" * 100_000, "'phdr'"),
        (lambda: b"RIFF\xff\xff\xff\xffsfbk" + nested(3000), "'phdr'"),
        (lambda: b"RIFF", "no RIFF sfbk header"),
    ],
)
def test_hostile_fonts_are_refused(tmp_path: Path, content: Callable[[], bytes], said: str) -> None:
    path = tmp_path / "bomb.sf3"
    path.write_bytes(content())
    started = time.process_time()
    with little_memory(), pytest.raises(UserError) as caught:
        read_soundfont(path)
    assert str(caught.value).startswith(f"{path}: no readable SF3 file ({said}"), caught.value
    assert time.process_time() - started < 10


def nested(depth: int) -> bytes:
    """Lists inside lists."""
    content = b""
    for _ in range(depth):
        content = chunk(b"LIST", b"pdta" + content)
    return content


def test_damaged_fonts_are_read_or_refused_in_one_line(tmp_path: Path) -> None:
    draw, whole, path = random.Random(0), font(), tmp_path / "damaged.sf3"
    outcomes = set()
    for _ in range(500):
        damaged = bytearray(whole[: draw.choice([len(whole), draw.randrange(len(whole))])])
        for _ in range(draw.randint(1, 10) if damaged else 0):
            damaged[draw.randrange(len(damaged))] = draw.choice(b"\0\1\x10\x7f\xff")
        path.write_bytes(damaged)
        try:
            outcomes.add(sum(len(each.content) for each in read_soundfont(path)) <= len(damaged))
        except UserError as error:
            assert str(error).startswith(f"{path}: no readable SF3 file (")
            outcomes.add("refused")
    assert outcomes == {True, "refused"}
