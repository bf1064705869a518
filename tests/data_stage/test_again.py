"""A full disk ends in one line and the next run goes on; a run with nothing changed does nothing."""

from __future__ import annotations

import contextlib
import os
import resource
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile

from harness.base.errors import UserError
from harness.config.params import Params
from harness.data.clips.clips import open_clips
from harness.data.featurize import featurize
from tests.conftest import ROOT

from . import test_audioset, test_hdf5
from .conftest import MakeParams
from .corpus import sine
from .test_bad_inputs import PACKED, cli, of_folder, run, write_table


def limit_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))


def forty_clips(folder: Path, make: MakeParams) -> Params:
    (folder / "mine").mkdir()
    lines = [(f"{number}.wav", "Speech", "train") for number in range(40)]
    for name, _, _ in lines:
        soundfile.write(folder / "mine" / name, sine(seconds=1.0), 32_000)
    write_table(folder, lines)
    return of_folder(make, clip_seconds=1.28)


def test_a_file_that_may_not_grow_ends_in_one_line_and_the_next_run_goes_on(tmp_path: Path, make: MakeParams) -> None:
    params = forty_clips(tmp_path, make)
    done = cli(tmp_path, params, "fetch", "featurize", preexec_fn=limit_files)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: .cache/featurize/folder/") and done.stderr.count("\n") == 1
    assert "shard-00000.npy: cannot be written (File too large): free space" in done.stderr
    assert not (tmp_path / PACKED).exists() and not (tmp_path / "results").exists()
    run(tmp_path, params)
    with contextlib.chdir(tmp_path):
        assert len(open_clips(params, "train")) == 40


SMALL_DISK = ["unshare", "--mount", "--propagation", "private"]


def can_mount() -> bool:
    script = "mount -t tmpfs -o size=1m none /mnt"
    return bool(shutil.which("unshare")) and not subprocess.run([*SMALL_DISK, "sh", "-c", script]).returncode


@pytest.mark.parametrize("place", [".cache", "data", "results"])
def test_a_full_disk_ends_in_one_line(tmp_path: Path, make: MakeParams, place: str) -> None:
    if not can_mount():
        pytest.skip("a small disk cannot be mounted here")
    params = forty_clips(tmp_path, make)
    assert not cli(tmp_path, params, "fetch").returncode
    shutil.copytree(tmp_path / "data/raw", tmp_path / "raw")
    (tmp_path / place).mkdir(exist_ok=True)
    script = f"""
        mount -t tmpfs -o size=1m none {place} && mkdir -p data && cp -r raw data/raw || exit 9
        [ {place} = results ] && head -c 2m /dev/zero > results/other 2> /dev/null
        exec {shlex.quote(sys.executable)} -m harness featurize
    """
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*SMALL_DISK, "sh", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert f"error: {place}/" in done.stderr and "cannot be written" in done.stderr and "free space" in done.stderr
    assert not (tmp_path / PACKED / "summary.json").exists() or place == "results"


def states(folder: Path) -> dict[str, tuple[int, int]]:
    found = [*(folder / PACKED).iterdir(), *(folder / "results/folder").iterdir()]
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in found}


def test_a_second_run_with_nothing_changed_reads_and_writes_no_sound(
    tmp_path: Path, make: MakeParams, capsys: pytest.CaptureFixture[str]
) -> None:
    params = forty_clips(tmp_path, make)
    run(tmp_path, params)
    before = states(tmp_path)
    assert "up to date" not in capsys.readouterr().out
    run(tmp_path, params)
    assert states(tmp_path) == before and "data/packed/folder: is up to date" in capsys.readouterr().out
    changes: list[Callable[[], object]] = [
        lambda: soundfile.write(tmp_path / "mine/7.wav", sine(seconds=1.0, frequency=880.0), 32_000),
        lambda: (tmp_path / "mine/8.wav").unlink(),
        lambda: write_table(tmp_path, [(f"{number}.wav", "Music", "train") for number in range(9)]),
        lambda: (tmp_path / PACKED / "index-train.ids").unlink(),
        lambda: (tmp_path / PACKED / "shard-00000.npy").write_bytes(b""),
        lambda: (tmp_path / "results/folder/data.json").write_text("{}"),
    ]
    for number, change in enumerate(changes):
        change()
        run(tmp_path, params)
        assert "up to date" not in capsys.readouterr().out, number
        run(tmp_path, params)
        assert "up to date" in capsys.readouterr().out, number
    strict = params.model_copy(update={"data": params.data.model_copy(update={"max_bad_fraction": 0.0})})
    with pytest.raises(UserError, match=r"max_bad_fraction: is 0, but 1 of 9 train clips are bad \(missing 1; paths"):
        run(tmp_path, strict)
    assert (tmp_path / PACKED / "summary.json").exists(), "what was packed under another limit stays"


def test_a_table_that_was_mended_is_read_at_once(tmp_path: Path, make: MakeParams) -> None:
    """The advice of featurize, "mend or remove them", works without another command."""
    params = forty_clips(tmp_path, make).model_copy(update={"preset": "folder"})
    strict = params.model_copy(update={"data": params.data.model_copy(update={"max_bad_fraction": 0.0})})
    (tmp_path / "mine/7.wav").unlink()
    with pytest.raises(UserError, match=r"1 of 40 train clips are bad .*: mend or remove them"):
        run(tmp_path, strict)
    write_table(tmp_path, [(f"{number}.wav", "Speech", "train") for number in range(40) if number != 7])
    with contextlib.chdir(tmp_path):
        featurize(strict)
        assert len(open_clips(strict, "train")) == 39


def test_so_is_a_second_look_at_hdf5_files(
    tmp_path: Path, make: MakeParams, capsys: pytest.CaptureFixture[str]
) -> None:
    test_hdf5.write_hdf5(tmp_path / "test.h5", test_hdf5.names("e", 9))
    params = test_hdf5.of_files(make, train=None, val=None)
    for change, said in [(False, False), (False, True), (True, False), (False, True)]:
        if change:
            test_hdf5.write_hdf5(tmp_path / "test.h5", test_hdf5.names("e", 9), seed=1)
        test_audioset.run(tmp_path, params)
        assert ("data/packed/audioset: is up to date" in capsys.readouterr().out) == said
