"""A table or an HDF5 file that is broken is named in one line; bad lines and rows of it get a status."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import soundfile

from harness.base.errors import UserError
from harness.data.clips.clips import open_clips
from harness.data.clips.manifest import read_manifest

from . import test_audioset, test_hdf5
from .conftest import MakeParams
from .corpus import HTML, sine
from .test_audioset import COMMENTS, SPEECH
from .test_bad_inputs import PACKED, of_folder, run


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (b"", r"clips\.csv: no column path, labels, split"),
        (b"path,labels,split\r\n", r"clips\.csv: no clip in it; give one a line"),
        (b"path,split\na.wav,train\n", r"clips\.csv: no column labels; the first line must be"),
        (b"path;labels;split\na.wav;Speech;train\n", r"clips\.csv: no column path, labels, split"),
        (b"path,labels,split\na.wav,Speech,dev\n", r"clips\.csv:2: split is 'dev'"),
        (b"path,labels,split\na.wav,Speech\n", r"clips\.csv:2: split is ''"),
        (b"path,labels,split\na, b.wav,Speech,train\n", r"clips\.csv:2: more values than columns; put a value"),
        (b"path,labels,split\nb.wav,Speech,train\na.wav,Speech,train,x\n", r"clips\.csv:3: more values than columns"),
        ("path,labels,split\né.wav,Speech,train\n".encode("latin-1"), r"clips\.csv: cannot be read as CSV .*UTF-8"),
        ("path,labels,split\na.wav,Speech,train\n".encode("utf-16"), r"clips\.csv: cannot be read as CSV"),
        (bytes(range(256)) * 50, r"clips\.csv: cannot be read as CSV"),
        (b"\0" * 5_000, r"clips\.csv: no column path, labels, split"),
        (HTML, r"clips\.csv: no column path, labels, split"),
        (b'path,labels,split\n"' + b"a" * 200_000, r"clips\.csv: cannot be read as CSV \(field larger than"),
    ],
)
def test_a_table_that_is_none_is_said_in_one_line(tmp_path: Path, make: MakeParams, table: bytes, message: str) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "clips.csv").write_bytes(table)
    with pytest.raises(UserError, match=message) as raised:
        run(tmp_path, of_folder(make))
    assert "\n" not in str(raised.value) and not (tmp_path / PACKED).exists()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (b"", r"eval\.csv: no segment in it"),
        (COMMENTS.encode(), r"eval\.csv: no segment in it; give AudioSet's segment CSV"),
        (HTML, r"eval\.csv:1: is '<!DOCTYPE html>', must be YTID"),
        (b"YTID,start_seconds,end_seconds,labels\n", r"eval\.csv:1: is 'YTID,"),
        (bytes(range(256)) * 50, r"eval\.csv: cannot be read as CSV|eval\.csv:\d+: is "),
        (COMMENTS.encode("utf-16"), r"eval\.csv: cannot be read as CSV"),
    ],
)
def test_a_segment_csv_that_is_none_is_said_in_one_line(
    tmp_path: Path, make: MakeParams, table: bytes, message: str
) -> None:
    (tmp_path / "audio").mkdir()
    (tmp_path / "eval.csv").write_bytes(table)
    params = test_audioset.of_files(make, 1.0, {"audio": ("audio",), "test_segments": "eval.csv"})
    with pytest.raises(UserError, match=message) as raised:
        test_audioset.run(tmp_path, params)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("start", ["", "\ufeff"])
def test_segments_with_odd_lines_are_read(tmp_path: Path, make: MakeParams, start: str, end: str) -> None:
    (tmp_path / "audio").mkdir()
    (tmp_path / "audio" / b"\xff".decode("utf-8", "surrogateescape")).mkdir()
    soundfile.write(tmp_path / "audio" / "ddddddddddd.wav", sine(), 32_000)
    (tmp_path / "audio" / "-eeeeeeeeee.wav").symlink_to("gone.wav")
    os.mkfifo(tmp_path / "audio" / "fffffffffff.wav")
    lines = [
        f'ddddddddddd, 30.000, 40.000, "{SPEECH},{SPEECH}"',
        f"-eeeeeeeeee, 30.000, 40.000, {SPEECH}",
        f"fffffffffff, 30.000, 40.000, {SPEECH}",
        'ggggggggggg, 30.000, 40.000, ""',
        'hhhhhhhhhhh, 30.000, 40.000, "/m/none"',
        f"ddddddddddd, 30.000, 40.000, {SPEECH}",
    ]
    (tmp_path / "eval.csv").write_text(
        start + (COMMENTS + "\n".join(lines)).replace("\n", end), encoding="utf-8", newline=""
    )
    params = test_audioset.of_files(make, 1.0, {"audio": ("audio",), "test_segments": "eval.csv"})
    test_audioset.run(tmp_path, params)
    rows = read_manifest(tmp_path / test_audioset.PACKED / "manifest.csv")
    assert [row.status for row in rows] == ["ok", "missing", "unreadable", "bad_label", "bad_label", "duplicate"]
    assert rows[0].labels == SPEECH, "a repeated label stands once"


def test_a_folder_whose_name_cannot_be_written_down_is_named(tmp_path: Path, make: MakeParams) -> None:
    folder = tmp_path / "audio" / b"\xff".decode("utf-8", "surrogateescape")
    folder.mkdir(parents=True)
    (folder / "ddddddddddd.wav").touch()
    test_audioset.write_segments(tmp_path / "eval.csv", {"ddddddddddd": [SPEECH]})
    params = test_audioset.of_files(make, 1.0, {"audio": ("audio",), "test_segments": "eval.csv"})
    with pytest.raises(UserError, match=r"data\.audioset\.audio: the folder '.*\\udcff' has a name that is no UTF-8"):
        test_audioset.run(tmp_path, params)


# HDF5


def replaced(file: h5py.File, name: str, value: object) -> None:
    del file[name]
    file[name] = value


def without_rows(file: h5py.File) -> None:
    for name in ("audio_name", "waveform", "target"):
        replaced(file, name, file[name][:0])


def test_bad_rows_of_hdf5_get_a_status(tmp_path: Path, make: MakeParams) -> None:
    test_hdf5.write_hdf5(tmp_path / "test.h5", test_hdf5.names("e", 9))
    with h5py.File(tmp_path / "test.h5", "r+") as file:
        waveforms = file["waveform"][:]
        waveforms[1], waveforms[2] = 0, 77
        del file["waveform"]
        file.create_dataset("waveform", data=waveforms, chunks=(1, 8_000), compression="gzip")
        chunk = file["waveform"].id.get_chunk_info(3)
        file["audio_name"][4], file["target"][5] = b"", False
        file["audio_name"][6], file["audio_name"][7] = b"a\rb\nc,\"d'\xff", file["audio_name"][0]
    with open(tmp_path / "test.h5", "r+b") as raw:
        raw.seek(chunk.byte_offset + 100)
        raw.write(b"\0" * 500)
    params = test_hdf5.of_files(make, train=None, val=None)
    test_audioset.run(tmp_path, params)
    rows = read_manifest(tmp_path / test_audioset.PACKED / "manifest.csv")
    assert [row.status for row in rows] == [
        *("ok", "ghost", "silent", "unreadable", "ghost", "ghost", "ok", "duplicate", "ok")
    ]
    assert rows[6].id == "a\\x0db\\x0ac,\"d'\\xff", "a name cannot break the manifest"
    assert rows[2].reason == "all samples are the same" and "filter returned failure" in rows[3].reason
    with contextlib.chdir(tmp_path):
        assert len(open_clips(params, "test")) == 3


@pytest.mark.parametrize("keep", [0, 1, 7, 8, 100, 800, 2_000, 5_000, 0.5, 0.99])
def test_an_hdf5_file_cut_anywhere_is_said_in_one_line(tmp_path: Path, make: MakeParams, keep: float) -> None:
    test_hdf5.write_hdf5(tmp_path / "test.h5", test_hdf5.names("e", 9))
    content = (tmp_path / "test.h5").read_bytes()
    (tmp_path / "test.h5").write_bytes(content[: int(keep * len(content)) if 0 < keep < 1 else int(keep)])
    with pytest.raises(UserError, match=r"test\.h5: cannot be read as HDF5|test\.h5 is not HDF5") as raised:
        test_audioset.run(tmp_path, test_hdf5.of_files(make, train=None, val=None))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda file: file.pop("target"), r"no data set `target`"),
        (lambda file: replaced(file, "target", np.zeros((9, 527), np.float32)), r"`target` is float32"),
        (lambda file: replaced(file, "waveform", np.zeros((9, 8_000), ">i2")), r"`waveform` is >i2"),
        (lambda file: replaced(file, "waveform", np.zeros((9, 8_000), np.int32)), r"`waveform` is int32"),
        (lambda file: replaced(file, "waveform", np.zeros((9, 8_000, 2), np.int16)), r"`waveform` is int16 \(9,"),
        (lambda file: replaced(file, "waveform", h5py.SoftLink("/gone")), r"no data set `waveform`"),
        (
            lambda file: replaced(file, "audio_name", h5py.ExternalLink("gone.h5", "/x")),
            r"its part gone\.h5 is missing",
        ),
        (lambda file: replaced(file, "audio_name", h5py.Empty("S20")), r"test\.h5: "),
        (without_rows, r"test\.h5: no row in it"),
    ],
)
def test_an_hdf5_file_of_another_kind_is_said_in_one_line(
    tmp_path: Path, make: MakeParams, change: Callable[[h5py.File], None], message: str
) -> None:
    test_hdf5.write_hdf5(tmp_path / "test.h5", test_hdf5.names("e", 9))
    with h5py.File(tmp_path / "test.h5", "r+") as file:
        change(file)
    with pytest.raises(UserError, match=message) as raised:
        test_audioset.run(tmp_path, test_hdf5.of_files(make, train=None, val=None))
    assert "\n" not in str(raised.value)
