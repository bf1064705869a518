"""Blocks of clips: any number of workers, killed at any time, the same bytes."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from harness.config.params import Params, load
from harness.data.clips.clips import open_clips
from harness.data.fetching.fetch import fetch
from harness.data.packing import blocks
from tests.conftest import ROOT

from .test_audioset import MUSIC, PACKED, SPEECH, of_tree, run, sums, tone, write_segments


def many(folder: Path, count: int) -> Params:
    """`count` short recordings, listed, and the parameters for them."""
    (folder / "audio").mkdir(parents=True)
    listed = {f"{index:011d}": [SPEECH] for index in range(count)}
    for index, name in enumerate(listed):
        soundfile.write(folder / "audio" / f"Y{name}.wav", tone(index, 0.2 + 0.001 * index), 32_000)
    write_segments(folder / "train.csv", listed)
    write_segments(folder / "eval.csv", {"99999999999": [MUSIC]})
    return params_of_many()


def params_of_many() -> Params:
    params = load(ROOT / "presets" / "instruments.yaml")
    data = {"audio": ("audio",), "train_segments": ("train.csv",), "test_segments": "eval.csv"}
    return of_tree(lambda preset, **data: replaced(params, preset, data), val_segments=None, val_fraction=0.1, **data)


def replaced(params: Params, preset: str, data: dict[str, object]) -> Params:
    return params.model_copy(update={"preset": preset, "data": params.data.model_copy(update=data)})  # type: ignore[arg-type]


def test_more_workers_write_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "ROWS", 4)
    found = []
    for workers in (1, 3):
        folder = tmp_path / str(workers)
        run(folder, many(folder, 22), workers)
        found.append(sums(folder / "data/packed") | sums(folder / "results"))
        assert not list((folder / ".cache/featurize/audioset").iterdir()), "nothing is left of the work"
    assert found[0] == found[1] and sum("shard" in name for name in found[0]) == 6


def test_two_hundred_clips_are_a_dozen_files(tmp_path: Path) -> None:
    run(tmp_path, many(tmp_path, 200))
    assert len(sums(tmp_path / "data/packed")) < 20


SCRIPT = """
from pathlib import Path
from harness.data.packing import blocks
from harness.data.featurize import featurize
from tests.data_stage.test_blocks import params_of_many

blocks.ROWS = 8
if __name__ == "__main__":
    featurize(params_of_many(), 2)
"""


def test_killed_at_any_time_it_goes_on_and_ends_with_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "ROWS", 8)
    params = many(tmp_path / "whole", 400)
    shutil.copytree(tmp_path / "whole", tmp_path / "killed")
    run(tmp_path / "whole", params)
    folder = tmp_path / "killed"
    (folder / "script.py").write_text(SCRIPT)
    with contextlib.chdir(folder):
        fetch(params)
    work = folder / ".cache/featurize/audioset"
    for least in (1, 20):  # killed after the first block, and again in the middle
        process = subprocess.Popen(
            [sys.executable, "script.py"],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stderr=subprocess.DEVNULL,
        )
        end = time.monotonic() + 20
        while len(list(work.glob("*/block-*.json"))) < least and time.monotonic() < end:
            time.sleep(0.002)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        workers = children.read_text().split() if children.exists() else []
        assert workers or not children.exists()
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not (folder / PACKED).exists(), "the folder appears whole or not at all"
        while any(Path(f"/proc/{pid}").exists() for pid in workers):
            assert time.monotonic() < end, "the workers end with the run that started them"
            time.sleep(0.01)
    finished = {path: path.stat().st_mtime_ns for path in work.glob("*/block-*.json")}
    assert 20 <= len(finished) < 51
    times: dict[Path, int] = {}
    monkeypatch.setattr(shutil, "rmtree", remember(times, shutil.rmtree))
    run(folder, params)
    kept = [path for path, when in finished.items() if times[path.relative_to(folder)] == when]
    assert len(kept) == len(finished), "finished blocks are not packed again"
    assert sums(folder / "data/packed") == sums(tmp_path / "whole/data/packed")


def remember(times: dict[Path, int], remove: object) -> object:
    """shutil.rmtree, noting when the finished blocks in what is removed were written."""

    def wrapped(folder: Path, ignore_errors: bool = False) -> None:
        times.update({path: path.stat().st_mtime_ns for path in Path(folder).glob("block-*.json")})
        remove(folder, ignore_errors)  # type: ignore[operator]

    return wrapped


def test_only_what_changed_since_the_interruption_is_packed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "ROWS", 4)
    params = many(tmp_path, 11)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda folder, ignore_errors=False: None)  # as if killed before tidying up
        run(tmp_path, params)
    work = tmp_path / ".cache/featurize/audioset"
    before = {path.name: path.stat().st_mtime_ns for path in work.glob("*/block-*.json")}
    soundfile.write(tmp_path / "audio" / "Y00000000005.wav", tone(50, 0.3), 32_000)
    with monkeypatch.context() as patch:
        times: dict[Path, int] = {}
        patch.setattr(shutil, "rmtree", remember(times, shutil.rmtree))
        run(tmp_path, params)
    after = {path.name: when for path, when in times.items()}
    assert [name for name in sorted(before) if before[name] != after[name]] == ["block-00002.json"]
    with contextlib.chdir(tmp_path):
        clips = {split: open_clips(params, split) for split in ("train", "val")}
        found = next(each for each in clips.values() if "00000000005" in list(each.ids))
        waveform = found.waveform(list(found.ids).index("00000000005"))
    np.testing.assert_allclose(waveform[:9000], tone(50, 0.3)[:9000], atol=1e-4)
