"""HDF5 files whose rows lie in other files: all are found, recorded, and named when one is gone or changed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
import pytest

from harness.base.errors import UserError, one_line
from harness.config.params import Params
from harness.data.clips import hdf5
from harness.data.sources.hdf5_parts import files_behind

from . import test_hdf5
from .conftest import MakeParams
from .test_audioset import PACKED, run
from .test_bad_inputs import cli
from .test_hdf5 import names, of_files, opened, stored, write_hdf5

PARTS = ("p0.h5", "p1.h5", "deep/p2.h5", "middle.h5")


def join(path: Path, parts: Sequence[Path], data_sets: Sequence[str]) -> None:
    """Virtual data sets in `path` of the rows of `parts`, ten in each."""
    with h5py.File(parts[0]) as file:
        kinds = {name: (file[name].shape[1:], file[name].dtype) for name in data_sets}
    with h5py.File(path, "a") as file:
        for name, (shape, dtype) in kinds.items():
            layout = h5py.VirtualLayout((10 * len(parts), *shape), dtype)
            for number, part in enumerate(parts):
                where = os.path.relpath(part, path.parent)
                layout[10 * number : 10 * number + 10] = h5py.VirtualSource(where, name, (10, *shape))
            file.create_virtual_dataset(name, layout)


def in_parts(folder: Path, make: MakeParams, how: str) -> Params:
    """train.h5 over its parts, of which one is itself made of another's rows; `linked`: through an external link."""
    (folder / "deep").mkdir()
    parts = [folder / name for name in PARTS[:3]]
    for number, part in enumerate(parts):
        write_hdf5(part, names("tuv"[number], 10), 10 + number)
    join(folder / "middle.h5", parts[2:], ["waveform"])
    join(folder / "train.h5", parts, ["audio_name", "target"])
    whole = folder / ("train.h5" if how == "virtual" else "whole.h5")
    join(whole, [*parts[:2], folder / "middle.h5"], ["waveform"])
    if how == "linked":
        with h5py.File(folder / "train.h5", "r+") as file:
            file["waveform"] = h5py.ExternalLink("whole.h5", "/waveform")
    write_hdf5(folder / "val.h5", names("l", 5), 2)
    write_hdf5(folder / "test.h5", names("e", 9), 3)
    return of_files(make)


def edit(path: Path) -> None:
    """One sample, in place, in the same number of bytes."""
    size = path.stat().st_size
    copy = shutil.copy(path, path.with_name("copy"))
    with h5py.File(copy, "r+") as file:
        file["waveform"][3, 5] ^= 1
    path.write_bytes(copy.read_bytes())  # h5py would not write what is open for reading
    assert path.stat().st_size == size


@pytest.mark.parametrize("how", ["virtual", "linked"])
def test_rows_come_from_their_parts_and_every_part_is_recorded(tmp_path: Path, make: MakeParams, how: str) -> None:
    params = in_parts(tmp_path, make, how)
    run(tmp_path, params)
    train = opened(tmp_path, params, "train")
    assert len(train) == 30
    np.testing.assert_array_equal(train.waveform(27), stored(tmp_path / "deep/p2.h5", 7))
    recorded = json.loads((tmp_path / "data/packed/audioset.in_place.json").read_text())["train"][0]
    assert {Path(name).name for name, *_ in recorded} == {"train.h5", *(Path(name).name for name in PARTS)} | (
        {"whole.h5"} if how == "linked" else set()
    )


@pytest.mark.parametrize("how", ["virtual", "linked"])
@pytest.mark.parametrize("part", PARTS)
def test_a_part_that_is_gone_or_changed_is_named(
    tmp_path: Path, make: MakeParams, how: str, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hdf5, "CHECKED_EVERY", 0.0)
    params = in_parts(tmp_path, make, how)
    path, away = tmp_path / part, tmp_path / "away"
    path.rename(away)
    with pytest.raises(UserError, match=rf"its part .*{path.name} is missing; put it back"):
        run(tmp_path, params)
    away.rename(path)
    run(tmp_path, params)
    reading = opened(tmp_path, params, "train")
    reading.waveform(0)
    path.rename(away)
    for clips in (reading, opened(tmp_path, params, "train")):
        with pytest.raises(UserError, match=rf"{path.name}, which rows of it lie in, is gone; put it back"):
            clips.waveform(29)
    del reading, clips  # HDF5 would go on with what it has read of an open file
    away.rename(path)
    edit(tmp_path / part) if part != "middle.h5" else os.utime(path)
    with pytest.raises(UserError, match=rf"{path.name}, which rows of it lie in, has changed since"):
        opened(tmp_path, params, "train").waveform(0)
    before = json.loads((tmp_path / PACKED / "summary.json").read_text())["fingerprint"]
    run(tmp_path, params)
    opened(tmp_path, params, "train").waveform(0)
    assert (json.loads((tmp_path / PACKED / "summary.json").read_text())["fingerprint"] == before) == (
        part == "middle.h5"
    )


def test_a_part_that_lost_rows_is_named(tmp_path: Path, make: MakeParams) -> None:
    params = in_parts(tmp_path, make, "virtual")
    write_hdf5(tmp_path / "p1.h5", names("u", 6), 11)
    with pytest.raises(UserError, match=r"p1\.h5: its data set `\w+` lacks rows that are taken from it \(shape \(6"):
        run(tmp_path, params)


def test_parts_of_selections_without_an_end_and_of_counted_names_are_found(tmp_path: Path) -> None:
    """A data set that grows with its part, and one of all files that there are of a numbered name."""
    endless = h5py.h5s.UNLIMITED
    for name in ("grows.h5", "b0.h5", "b1.h5"):
        with h5py.File(tmp_path / name, "w") as file:
            file.create_dataset("waveform", data=np.ones((4, 5), np.int16), maxshape=(None, 5))
    layout = h5py.VirtualLayout((4, 5), np.int16, maxshape=(None, 5))
    layout[:endless, :] = h5py.VirtualSource("grows.h5", "waveform", (4, 5), maxshape=(None, 5))[:endless, :]
    settings, blocks = h5py.h5p.create(h5py.h5p.DATASET_CREATE), h5py.h5s.create_simple((8, 5), (endless, 5))
    blocks.select_hyperslab((0, 0), (endless, 1), stride=(4, 5), block=(4, 5))
    settings.set_virtual(blocks, b"b%b.h5", b"waveform", h5py.h5s.create_simple((4, 5)))
    with h5py.File(tmp_path / "whole.h5", "w") as file:
        file.create_virtual_dataset("waveform", layout)
        h5py.h5d.create(file.id, b"target", h5py.h5t.NATIVE_INT16, blocks, dcpl=settings)
    found = files_behind(tmp_path / "whole.h5", ("waveform", "target"))
    assert {path.name for path in found} == {"whole.h5", "grows.h5", "b0.h5", "b1.h5"}
    (tmp_path / "b0.h5").unlink()
    with pytest.raises(UserError, match=r"its part .*b0\.h5 is missing"):
        files_behind(tmp_path / "whole.h5", ("waveform", "target"))


def test_every_command_that_reads_samples_checks_them(
    tmp_path: Path, make: MakeParams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(test_hdf5, "SAMPLES", 41_000)
    in_parts(tmp_path, make, "virtual")
    params = of_files(make, 1.28, train=("val.h5",), val=None, test="train.h5", val_fraction=0.4)
    assert not cli(tmp_path, params, "fetch", "featurize").returncode
    (tmp_path / "p1.h5").rename(tmp_path / "away")
    for stage in ("linear-baseline --seed 0", "featurize"):
        done = cli(tmp_path, params, stage)
        assert done.returncode == 2 and done.stderr.count("\n") == 1 and "p1.h5" in done.stderr, done.stderr


def test_a_stated_rate_is_believed_and_an_odd_length_is_said(
    tmp_path: Path, make: MakeParams, capsys: pytest.CaptureFixture[str]
) -> None:
    params = in_parts(tmp_path, make, "virtual")
    run(tmp_path, params)
    assert "train.h5: states no sample rate, and a row is 0.25 s at 32000 Hz" in capsys.readouterr().err
    for name, place, value in [("train.h5", "/", 16_000), ("p1.h5", "/", 16_000), ("p0.h5", "waveform", [44_100.0])]:
        for stated, refused in ((value, True), (np.int32(32_000), False)):
            with h5py.File(tmp_path / name, "r+") as file:
                file[place].attrs["sample_rate"] = stated
            if refused:
                with pytest.raises(UserError, match=rf"{name}: its sample_rate is .*, must be 32000, as rows"):
                    run(tmp_path, params)
        run(tmp_path, params)
    assert "train.h5: states" not in capsys.readouterr().err


def test_what_is_said_of_a_file_with_thousands_of_data_sets_stays_short(tmp_path: Path, make: MakeParams) -> None:
    with h5py.File(tmp_path / "test.h5", "w") as file:
        for number in range(4000):
            file[f"clip-{number:012d}"] = 0
    message = r"no data set `audio_name` \(it has: clip-0{12}, .* and 3990 more\); pack it as PANNs does"
    with pytest.raises(UserError, match=message) as raised:
        run(tmp_path, of_files(make, train=None, val=None))
    assert len(str(raised.value)) < 400
    long = one_line(f"{'x' * 70_000} y\nz; run it again")
    assert len(long) < 1010 and long.endswith("xxx y z; run it again") and "\n" not in long
