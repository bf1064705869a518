"""Bad input: a clip gets a status and the others are packed, a broken table or file is named in one line, and no run
goes on with too many bad clips or a full disk."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from harness.base.errors import UserError
from harness.config.params import Params
from harness.data.clips.clips import open_clips
from harness.data.clips.manifest import STATUSES, Row, read_manifest
from harness.data.featurize import featurize
from harness.data.fetching.fetch import fetch
from harness.data.packing.pack import pack
from tests.conftest import ROOT

from . import test_audioset
from .conftest import MakeParams
from .corpus import CASES, HTML, sine
from .test_audioset import SPEECH

PACKED = Path("data/packed/folder")
BAD_CLIPS = Path("data/packed/folder.bad_clips.csv")


def write_table(folder: Path, lines: list[tuple[str, str, str]]) -> None:
    with open(folder / "mine" / "clips.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\r\n").writerows([("path", "labels", "split"), *lines])


def of_folder(make: MakeParams, **data: object) -> Params:
    given: dict[str, object] = {"csv": "mine/clips.csv", "label_list": "audioset", "clip_seconds": 1.0}
    return make(preset="folder", kind="folder", **(given | data))


def run(folder: Path, params: Params) -> None:
    with contextlib.chdir(folder):
        fetch(params)
        featurize(params, 1)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory, make: MakeParams) -> tuple[Path, list[Row]]:
    """All cases in one folder, featurized in one run, and the rows of its manifest."""
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "mine").mkdir()
    for case in CASES:
        case.make(folder / "mine" / case.name if case.name else folder)
    write_table(folder, [(case.name, case.labels, "train") for case in CASES])
    run(folder, of_folder(make))
    return folder, read_manifest(folder / PACKED / "manifest.csv")


@pytest.mark.parametrize("number", range(len(CASES)), ids=[case.what for case in CASES])
def test_a_clip_gets_its_status_and_only_a_good_one_is_packed(
    corpus: tuple[Path, list[Row]], make: MakeParams, number: int
) -> None:
    (folder, rows), case = corpus, CASES[number]
    row = rows[number]
    assert (row.status, row.reason if row.status != case.status else "") == (case.status, "")
    assert case.status in STATUSES and case.reason in row.reason and bool(row.reason) == (case.status != "ok")
    assert "/mine" not in row.reason and str(folder) not in row.reason, "a copy elsewhere is the same data"
    assert (row.shard, row.offset, row.samples) == (-1, -1, -1) if case.status != "ok" else row.samples > 0
    if case.status == "ok":
        with contextlib.chdir(folder):
            clips = open_clips(of_folder(make), "train")
        assert np.abs(clips.waveform(clips.ids.index(case.name))).max() > 1e-3


def test_good_and_bad_clips_are_all_counted(corpus: tuple[Path, list[Row]], make: MakeParams) -> None:
    folder, rows = corpus
    assert len(rows) == len(CASES) >= 100
    data = json.loads((folder / "results/folder/data.json").read_text())
    good = sum(case.status == "ok" for case in CASES)
    assert data["clips"]["train"] == good and data["bad"]["train"] == len(CASES) - good
    assert sum(data["statuses"].values()) == data["rows"] == len(CASES)
    assert {case.status for case in CASES} == set(data["statuses"])
    with open(folder / PACKED / "missing.csv", newline="", encoding="utf-8") as file:
        left_out = list(csv.DictReader(file))
    assert [line["status"] for line in left_out] == [case.status for case in CASES if case.status != "ok"]
    with contextlib.chdir(folder):
        assert len(open_clips(of_folder(make), "train")) == good
    assert data["lengths"] == {
        "clip_seconds": 1.0,
        "padded": {"train": good - sum(row.samples > 31_680 for row in rows), "val": 0, "test": 0},
        "cut": {"train": sum(row.samples > 32_320 for row in rows), "val": 0, "test": 0},
    }


def test_of_eleven_minutes_only_what_can_be_used_is_read(corpus: tuple[Path, list[Row]]) -> None:
    row = next(row for row in corpus[1] if row.id == "11min.wav")
    assert row.duration == 660.0 and row.samples == 61 * 32_000


def test_a_file_without_rights_is_unreadable() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        path = Path(folder) / "a.wav"
        soundfile.write(path, sine(), 32_000)
        path.chmod(0)
        with as_nobody():
            row, clip = pack(Row("a", "train", "", "a.wav"), path)
    assert clip is None and (row.status, row.reason) == ("unreadable", "Permission denied")


@contextlib.contextmanager
def as_nobody():  # type: ignore[no-untyped-def]
    """Root may read everything: it is somebody else meanwhile."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_a_clip_that_was_mended_is_packed_by_the_next_run(tmp_path: Path, make: MakeParams) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    soundfile.write(mine / "a.wav", sine(), 32_000)
    (mine / "b.wav").write_bytes(HTML)
    write_table(tmp_path, [("a.wav", "Speech", "train"), ("b.wav", "Speech", "train")])
    for mended in (False, True):
        if mended:
            soundfile.write(mine / "b.wav", sine(), 32_000)
        run(tmp_path, of_folder(make))
        assert [row.status for row in read_manifest(tmp_path / PACKED / "manifest.csv")][1] == (
            "ok" if mended else "unreadable"
        )


# too many bad clips


def cli(folder: Path, params: Params, *stages: str, **options: object) -> subprocess.CompletedProcess[str]:
    """The stages by their command, one after another; the last one's result."""
    (folder / "params.yaml").write_text(yaml.safe_dump(params.model_dump(mode="json")))
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    for stage in stages:
        done = subprocess.run(
            [sys.executable, "-m", "harness", *stage.split()],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            **options,  # type: ignore[call-overload]
        )
    return done


def test_above_the_allowed_share_it_stops_with_one_line_and_a_list(tmp_path: Path, make: MakeParams) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    lines = [(f"{number}.wav", "Speech", "train" if number < 8 else "test") for number in range(12)]
    for name, _, _ in lines[:-2]:
        soundfile.write(mine / name, sine(), 32_000)
    (mine / "3.wav").write_bytes(HTML)
    write_table(tmp_path, lines)
    params = of_folder(make, max_bad_fraction=0.2, clip_seconds=1.28)
    done = cli(tmp_path, params, "fetch", "featurize")
    assert done.returncode == 2 and done.stderr == (
        "error: data.max_bad_fraction: is 0.2, but 2 of 4 test clips are bad (missing 2; paths start at mine/); all "
        "bad clips are listed in data/packed/folder.bad_clips.csv: mend or remove them, or allow more\n"
    )
    assert (tmp_path / BAD_CLIPS).read_text().splitlines() == [
        "id,split,status,reason,source",
        "3.wav,train,unreadable,Format not recognised.,3.wav",
        "10.wav,test,missing,no such file,10.wav",
        "11.wav,test,missing,no such file,11.wav",
    ]
    assert not (tmp_path / PACKED).exists() and not (tmp_path / "results").exists()
    blocks = list((tmp_path / ".cache/featurize/folder").glob("*/block-*.json"))
    assert blocks, "what was packed is kept, so that the next run goes on"
    run(tmp_path, params.model_copy(update={"data": params.data.model_copy(update={"max_bad_fraction": 0.5})}))
    assert not (tmp_path / BAD_CLIPS).exists() and (tmp_path / PACKED / "missing.csv").exists()
    with contextlib.chdir(tmp_path):
        assert [len(open_clips(params, split)) for split in ("train", "test")] == [7, 2]


def test_a_listed_clip_that_is_missing_is_no_bad_one_in_audioset(tmp_path: Path, make: MakeParams) -> None:
    (tmp_path / "audio").mkdir()
    listed = {f"{number:011d}": [SPEECH] for number in range(4)}
    for name in listed:
        soundfile.write(tmp_path / "audio" / f"{name}.wav", sine(), 32_000)
    absent = {f"{number:011d}": [SPEECH] for number in range(50, 60)}
    test_audioset.write_segments(tmp_path / "train.csv", listed | absent)
    test_audioset.write_segments(tmp_path / "eval.csv", {"99999999999": [SPEECH]})
    files: dict[str, object] = {"audio": ("audio",), "train_segments": ("train.csv",), "test_segments": "eval.csv"}
    params = test_audioset.of_files(make, 1.0, files)
    params = params.model_copy(update={"data": params.data.model_copy(update={"max_bad_fraction": 0.25})})
    test_audioset.run(tmp_path, params)
    summary = json.loads((tmp_path / "results/audioset/data.json").read_text())
    assert summary["statuses"] == {"ok": 4, "missing": 11} and sum(summary["bad"].values()) == 0
    for name in list(listed)[:2]:
        (tmp_path / "audio" / f"{name}.wav").write_bytes(HTML)
    with pytest.raises(UserError, match=r"max_bad_fraction: is 0\.25, but 2 of 4 train clips are bad \(unreadable 2\)"):
        test_audioset.run(tmp_path, params)
    assert len((tmp_path / "data/packed/audioset.bad_clips.csv").read_text().splitlines()) == 3, "no missing ones"


def test_all_clips_bad_is_no_crash(tmp_path: Path, make: MakeParams) -> None:
    (tmp_path / "mine").mkdir()
    write_table(tmp_path, [("a.wav", "", "train"), ("b.wav", "Speech", "test")])
    run(tmp_path, of_folder(make, label_list="used"))
    assert json.loads((tmp_path / "results/folder/data.json").read_text())["bad"] == {"train": 1, "val": 0, "test": 1}
