"""PANNs' files as they are: rows that are empty, 41 parts by a pattern, its part CSVs, samples as floats."""

from __future__ import annotations

import json
import string
from pathlib import Path

import h5py
import numpy as np

from harness.data.clips.manifest import read_manifest

from .conftest import MakeParams
from .test_audioset import PACKED, SPEECH, run, table
from .test_hdf5 import names, of_files, opened, stored, write_hdf5


def test_panns_files_as_they_are_with_empty_rows_parts_and_part_csvs(tmp_path: Path, make: MakeParams) -> None:
    """7% of the rows are empty in every data set; the training files are parts, as are their CSVs."""
    for part in range(41):
        own = names(string.ascii_letters[part], 2)
        write_hdf5(tmp_path / f"part{part:02d}.h5", own, part)
        lines = (f'{name[1:-4]}, 30.000, 40.000, "{SPEECH}"\n' for name in own)
        (tmp_path / f"part{part:02d}.csv").write_text("empty\nempty\nempty\n" + "".join(lines))
    write_hdf5(tmp_path / "eval.h5", names("-", 100), 99)
    with h5py.File(tmp_path / "eval.h5", "r+") as file:
        for row in range(0, 98, 14):
            file["audio_name"][row], file["waveform"][row], file["target"][row] = b"", 0, False
    params = of_files(make, train="part*.h5", val=None, val_fraction=0.05, test="eval.h5", train_segments="part*.csv")
    params = params.model_copy(update={"data": params.data.model_copy(update={"max_bad_fraction": 0.0})})
    run(tmp_path, params)
    data = json.loads((tmp_path / "results/audioset/data.json").read_text())
    assert data["statuses_per_source"]["eval.h5"] == {"ok": 93, "missing": 7} and data["bad"]["test"] == 0
    assert data["clips"]["train"] + data["clips"]["val"] == 82 and len(data["hdf5_rows"]["train"]) == 41
    assert {row["reason"] for row in table(tmp_path / PACKED / "missing.csv") if row["split"] == "test"} == {
        "an empty row"
    }
    train = opened(tmp_path, params, "train")
    part, row = string.ascii_letters.index(train.ids[-1][0]), int(train.ids[-1][-1])
    np.testing.assert_array_equal(train.waveform(len(train) - 1), stored(tmp_path / f"part{part:02d}.h5", row))
    assert data["coverage"]["train"]["listed"] == data["coverage"]["train"]["ok"] == len(train)


def test_floats_are_taken_as_samples_of_full_scale_one(tmp_path: Path, make: MakeParams) -> None:
    waveforms, _ = write_hdf5(tmp_path / "train.h5", names("t", 6), 1)
    for split in ("val", "test"):
        write_hdf5(tmp_path / f"{split}.h5", names(split[-1].upper(), 2), ord(split[0]))
    floats = waveforms.astype(np.float32) / 32768
    floats[2, 7], floats[3], floats[4] = np.nan, 20_000 * floats[3], 0
    with h5py.File(tmp_path / "train.h5", "r+") as file:
        del file["waveform"]
        file["waveform"] = floats
    params = of_files(make)
    run(tmp_path, params)
    found = {row.source: row.status for row in read_manifest(tmp_path / PACKED / "manifest.csv")}
    assert [found[f"train.h5:{row}"] for row in range(6)] == ["ok", "ok", "not_finite", "out_of_range", "ghost", "ok"]
    train = opened(tmp_path, params, "train")
    for index, row in enumerate((0, 1, 5)):
        np.testing.assert_array_equal(train.waveform(index), waveforms[row] / np.float32(32768))
