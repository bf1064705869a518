"""Folders of recordings, named in every way in use, packed by gzip, and linked."""

from __future__ import annotations

import contextlib
import gzip
from pathlib import Path

import numpy as np
import pytest
import soundfile

from harness.base.errors import UserError
from harness.data.clips.clips import open_clips
from harness.data.clips.manifest import read_manifest

from .conftest import MakeParams
from .test_audioset import LISTED, PACKED, SPEECH, of_files, of_tree, run, tone, tree, write_segments

__all__ = ["tree"]  # the fixture


def test_every_naming_scheme_is_found_and_linked_folders_once(tree: Path, make: MakeParams) -> None:
    """One of two ids that a name may stand for is the listed one; links lead in a circle."""
    audio = tree / "audio"
    (tree / "elsewhere/Speech").mkdir(parents=True)
    (audio / "linked").symlink_to(tree / "elsewhere")
    (tree / "elsewhere/circle").symlink_to(audio)
    names = ["Speech/kkkkkkkkkkk_30.0-40.0.ogg", "id_lllllllllll.flac", "id_abcdefgh_30.wav", "mmmmmmmmmmm.opus"]
    for index, name in enumerate(names):
        kind = {"opus": {"format": "OGG", "subtype": "OPUS"}}.get(name[-4:], {})
        rate = 48_000 if kind else 32_000
        soundfile.write(tree / "elsewhere" / name, tone(index, rate=rate), rate, **kind)
    soundfile.write(tree / "plain.wav", tone(4), 32_000)
    packed = gzip.compress((tree / "plain.wav").read_bytes())
    for ytid, content in {"n" * 11: packed, "o" * 11: packed[:500], "p" * 11: b"none"}.items():
        (audio / f"{ytid}.wav.gz").write_bytes(content)
    listed = ["kkkkkkkkkkk", "lllllllllll", "abcdefgh_30", "mmmmmmmmmmm", *(11 * letter for letter in "nop")]
    write_segments(tree / "eval.csv", {name: [SPEECH] for name in listed})
    run(tree, of_tree(make))
    rows = [row for row in read_manifest(tree / PACKED / "manifest.csv") if row.split == "test"]
    assert [(row.id, row.status) for row in rows] == [
        *((name, "ok") for name in listed[:5]),
        (listed[5], "unreadable"),
        (listed[6], "unreadable"),
    ]
    assert rows[0].source == "linked/Speech/kkkkkkkkkkk_30.0-40.0.ogg" and rows[5].reason.startswith("gzip: ")
    with contextlib.chdir(tree):
        found = open_clips(of_tree(make), "test").waveform(4)
    np.testing.assert_allclose(found[:16_000], tone(4), atol=1e-4)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hhhhhhhhhhh_390.0:400.0.wav", r"4 of 4 files there are named as 'a.*_390\.0:400\.0\.wav', which gives no"),
        ("part-hhhhhhhhhhh.tar", r"understood are <id>, Y<id> .* tar, parquet and HDF5 files go into"),
        ("zzzzzzzzzz{}.wav", r"none of the 4 recordings, such as zzzzzzzzzz0\.wav, is listed in the segment CSVs"),
        (".hidden{}", r"no recording is there that is listed in the segment CSVs; name the folders"),
    ],
)
def test_a_folder_in_which_nothing_matches_is_said(tmp_path: Path, make: MakeParams, name: str, message: str) -> None:
    (tmp_path / "audio").mkdir()
    for number in range(4):
        own = name.format(number) if "{" in name else f"{'abcd'[number]}{name}"
        (tmp_path / "audio" / own).write_bytes(b"RIFF")
    write_segments(tmp_path / "eval.csv", LISTED["eval.csv"])
    with pytest.raises(UserError, match=message) as raised:
        run(tmp_path, of_files(make, 1.0, {"audio": ("audio",), "test_segments": ("eval.csv",)}))
    assert "\n" not in str(raised.value)
