"""AudioSet from HDF5 files as PANNs packs them: used in place, ghosts left out and counted, wrong files named."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import pickle
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
import pytest

from harness.base.errors import UserError
from harness.config.params import Params
from harness.data.clips.clips import Clips, open_clips
from harness.data.clips.manifest import read_manifest
from harness.data.clips.splits import is_held_out
from harness.data.packing import blocks

from . import test_audioset
from .conftest import MakeParams
from .test_audioset import MALE, MUSIC, PACKED, SPEECH, run, sums, table, write_segments

SAMPLES = 8_000


def write_hdf5(path: Path, names: Sequence[str], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A file of `names`, written as PANNs does; its waveforms and targets, both with something in every row."""
    random = np.random.default_rng(seed)
    waveforms = random.integers(-20_000, 20_000, (len(names), SAMPLES), dtype=np.int16)
    targets = random.random((len(names), 527)) < 0.01
    targets[:, 137] = True
    with h5py.File(path, "w") as file:
        file.create_dataset("audio_name", (len(names),), "S20", data=np.array([name.encode() for name in names], "S20"))
        file.create_dataset("waveform", data=waveforms)
        file.create_dataset("target", data=targets)
    return waveforms, targets


def names(first: str, count: int) -> list[str]:
    """File names with a YouTube id, as they stand in PANNs' files."""
    return [f"Y{first}{index:010d}.wav" for index in range(count)]


def of_files(make: MakeParams, seconds: float = 0.25, **files: object) -> Params:
    given: dict[str, object] = {"train": ("train.h5",), "val": "val.h5", "test": "test.h5"}
    return test_audioset.of_files(make, seconds, given | files)


def stored(path: Path, row: int) -> np.ndarray:
    with h5py.File(path, "r", locking=False) as file:
        return file["waveform"][row] / np.float32(32768)


def opened(folder: Path, params: Params, split: str) -> Clips:
    with contextlib.chdir(folder):
        return open_clips(params, split)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    write_hdf5(tmp_path / "train.h5", names("t", 30), 1)
    write_hdf5(tmp_path / "val.h5", names("v", 5), 2)
    write_hdf5(tmp_path / "test.h5", names("e", 9), 3)
    return tmp_path


def test_rows_are_read_in_place_as_they_were_written(files: Path, make: MakeParams) -> None:
    waveforms, targets = write_hdf5(files / "train.h5", names("t", 30), 1)
    before = sums(files)
    for path in files.glob("*.h5"):
        path.chmod(0o444)
    params = of_files(make)
    run(files, params)
    train = opened(files, params, "train")
    assert list(train.ids) == [name[1:-4] for name in names("t", 30)]
    np.testing.assert_array_equal(np.asarray(train.targets), targets)
    for index in (29, 0, 7, 7):
        np.testing.assert_array_equal(train.waveform(index), waveforms[index].astype(np.float32) / 32768)
    assert [len(opened(files, params, split)) for split in ("val", "test")] == [5, 9]
    after = sums(files)
    assert {name: after[name] for name in before} == before, "the files are not touched"
    packed = sum(path.stat().st_size for path in (files / PACKED).iterdir() if "index" in path.name)
    assert packed < 150 * 44, "an index, no copy"


def test_long_rows_are_cut_and_the_rest_is_not_read(files: Path, make: MakeParams) -> None:
    waveforms, _ = write_hdf5(files / "train.h5", names("t", 3), 1)
    params = of_files(make, seconds=0.125)
    run(files, params)
    np.testing.assert_array_equal(opened(files, params, "train").waveform(1), waveforms[1, :4000] / np.float32(32768))


def test_ghost_rows_are_left_out_and_counted(files: Path, make: MakeParams) -> None:
    with h5py.File(files / "train.h5", "r+") as file:
        file["audio_name"][3] = b""
        file["waveform"][4] = 0
        file["target"][5] = False
        file["waveform"][6] = 0
        file["waveform"][6, 17] = 1  # nearly nothing, but not in the middle: no ghost
    params = of_files(make)
    run(files, params)
    rows = read_manifest(files / PACKED / "manifest.csv")
    ghosts = {row.source: row.reason for row in rows if row.status == "ghost"}
    assert ghosts == {
        "train.h5:3": "empty name",
        "train.h5:4": "all samples are zero",
        "train.h5:5": "no label",
    }
    data = json.loads((files / "results/audioset/data.json").read_text())
    assert data["statuses_per_source"]["train.h5"] == {"ok": 27, "ghost": 3} and data["rows"] == 44
    assert data["coverage"]["train"] == {"listed": None, "ok": 27}
    train = opened(files, params, "train")
    assert len(train) == 27 and train.ids[3] == "t0000000006" and train.waveform(3)[17] == np.float32(1 / 32768)


def test_a_name_counts_once_and_what_tests_is_not_trained_on(files: Path, make: MakeParams) -> None:
    write_hdf5(files / "more.h5", [*names("t", 2), *names("e", 1), *names("m", 2)], 4)
    params = of_files(make, train=("train.h5", "more.h5"))
    run(files, params)
    train, test = opened(files, params, "train"), opened(files, params, "test")
    assert len(train) == 32 and len(test) == 9
    assert train.ids[30:] == ["m0000000000", "m0000000001"]
    rows = read_manifest(files / PACKED / "manifest.csv")
    assert [row.source for row in rows if row.status == "duplicate"] == ["more.h5:0", "more.h5:1", "more.h5:2"]
    np.testing.assert_array_equal(train.waveform(31), stored(files / "more.h5", 4))


def test_a_share_of_the_training_rows_validates(files: Path, make: MakeParams) -> None:
    params = of_files(make, val=None, val_fraction=0.3)
    run(files, params)
    train, val = opened(files, params, "train"), opened(files, params, "val")
    assert len(train) + len(val) == 30 and len(val) > 2
    assert all(is_held_out(name, 0.3) for name in val.ids) and not any(is_held_out(name, 0.3) for name in train.ids)
    np.testing.assert_array_equal(val.waveform(1), stored(files / "train.h5", int(val.ids[1][1:])))


def test_coverage_beside_segment_csvs(files: Path, make: MakeParams) -> None:
    write_segments(
        files / "eval.csv", {f"e{index:010d}": [SPEECH, MALE] for index in range(7)} | {"xxxxxxxxxxx": [MUSIC]}
    )
    with h5py.File(files / "test.h5", "r+") as file:
        file["waveform"][2] = 0
    run(files, of_files(make, test_segments="eval.csv"))
    data = json.loads((files / "results/audioset/data.json").read_text())
    assert data["coverage"]["test"] == {"listed": 8, "ok": 6}, "of nine rows two are not listed, one is a ghost"
    assert data["coverage"]["train"] == {"listed": None, "ok": 30}
    assert data["clips"]["test"] == 8 and data["statuses_per_source"]["eval.csv"] == {"missing": 1}
    lines = {row["mid"]: row for row in table(files / "results/audioset/coverage.csv")}
    assert lines[MUSIC]["test_listed"] == "8" and lines[MUSIC]["test_ok"] == "6" and lines[MUSIC]["train_listed"] == ""
    assert {row["id"] for row in table(files / PACKED / "missing.csv")} == {"e0000000002", "xxxxxxxxxxx"}


def test_only_a_test_file_is_enough_to_evaluate(files: Path, make: MakeParams) -> None:
    params = of_files(make, train=None, val=None)
    run(files, params)
    assert len(opened(files, params, "test")) == 9
    with pytest.raises(UserError, match="no usable clip in split train"):
        opened(files, params, "train")


def test_many_processes_read_at_once_in_any_order(files: Path, make: MakeParams) -> None:
    params = of_files(make)
    run(files, params)
    train = opened(files, params, "train")
    expected = [train.waveform(index).tobytes() for index in range(30)]  # the file is now open in this process
    for method in ("fork", "spawn"):
        with multiprocessing.get_context(method).Pool(3) as pool:
            found = pool.map(train_waveform, [(train, index) for index in reversed(range(30))], chunksize=1)
        assert found == expected[::-1], method
    assert len(pickle.dumps(train.index)) < 500, "the index is mapped anew, not sent"


def train_waveform(task: tuple[Clips, int]) -> bytes:
    clips, index = task
    return clips.waveform(index).tobytes()


def test_the_fingerprint_is_of_the_content_not_of_the_time(files: Path, make: MakeParams) -> None:
    def fingerprint() -> str:
        run(files, of_files(make))
        return json.loads((files / PACKED / "summary.json").read_text())["fingerprint"]

    first = fingerprint()
    os.utime(files / "train.h5", (1, 1))
    assert fingerprint() == first
    seen = {first}
    for name, row, value in [
        ("audio_name", 8, b"Ynew________.wav"),
        ("target", (9, 5), True),
        ("waveform", (9, 4000), 7),
    ]:
        with h5py.File(files / "train.h5", "r+") as file:
            assert file[name][row] != value
            file[name][row] = value
        seen.add(fingerprint())
    assert len(seen) == 4


def test_more_workers_index_the_same(files: Path, make: MakeParams, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "ROWS", 7)
    found = []
    for workers in (1, 3):
        run(files, of_files(make), workers)
        found.append(sums(files / "data/packed") | sums(files / "results"))
    assert found[0] == found[1]


def replace(path: Path, name: str, value: object) -> None:
    with h5py.File(path, "r+") as file:
        del file[name]
        if value is not None:
            file[name] = value


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("target", None, r"val\.h5: no data set `target` \(it has: audio_name, waveform\)"),
        (
            "waveform",
            np.zeros((5, 8000)),
            r"val\.h5: data set `waveform` is float64 \(5, 8000\), must",
        ),
        (
            "waveform",
            np.zeros((5, 4000), np.int16),
            r"`waveform` is int16 \(5, 4000\), must be int16 or float32 \(rows, 8000",
        ),
        ("waveform", np.zeros(40_000, np.int16), r"`waveform` is int16 \(40000,\), must be"),
        ("target", np.zeros((5, 527), np.uint8), r"`target` is uint8 \(5, 527\), must be bool \(rows, 527\)"),
        ("target", np.zeros((5, 309), bool), r"`target` is bool \(5, 309\), must be bool \(rows, 527\)"),
        ("audio_name", np.arange(5), r"`audio_name` is int64 \(5,\), must be bytes"),
        ("target", np.zeros((4, 527), bool), r"val\.h5: its data sets differ in their number of rows \(audio_name 5,"),
    ],
)
def test_a_wrong_file_is_named_with_its_data_set(
    files: Path, make: MakeParams, name: str, value: object, message: str
) -> None:
    replace(files / "val.h5", name, value)
    with pytest.raises(UserError, match=message) as raised:
        run(files, of_files(make))
    assert "\n" not in str(raised.value) and not (files / PACKED).exists()


def test_a_missing_cut_or_foreign_file_is_named(files: Path, make: MakeParams) -> None:
    with pytest.raises(UserError, match=r"data\.audioset\.val: gone\.h5 is not there"):
        run(files, of_files(make, val="gone.h5"))
    content = (files / "val.h5").read_bytes()
    for wrong in (content[: len(content) // 2], b"<html>not found</html>", b""):
        (files / "val.h5").write_bytes(wrong)
        with pytest.raises(UserError, match=r"val\.h5: cannot be read as HDF5|val\.h5 is not HDF5") as raised:
            run(files, of_files(make))
        assert "\n" not in str(raised.value)


def test_a_file_that_changed_since_it_was_indexed_is_named(files: Path, make: MakeParams) -> None:
    params = of_files(make)
    run(files, params)
    write_hdf5(files / "train.h5", names("t", 31), 1)
    with pytest.raises(UserError, match=r"train\.h5: it has changed since it was indexed; run"):
        opened(files, params, "train").waveform(0)
