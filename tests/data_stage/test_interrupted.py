"""`featurize` killed at any write, or started twice: the same bytes at the end, of every kind of data."""

from __future__ import annotations

import contextlib
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from harness.base.errors import UserError
from harness.base.lock import one_at_a_time
from harness.config.params import Params
from harness.data.fetching.esc10_files import Recording, fetch_esc10
from harness.data.fetching.fetch import fetch
from harness.data.sources import instruments
from tests.conftest import ROOT

from . import forms, test_audioset, test_blocks, test_hdf5, test_lists
from .conftest import MakeParams
from .test_audioset import sums
from .test_leakage import digest

SCRIPT = """
import os, pickle, random, shutil, signal, sys

from harness.data.packing import blocks
from harness.data.sources import instruments
from harness.data.featurize import featurize

blocks.ROWS = 4
instruments.FONTS = {}  # some of the CC0 samples are enough here, and quicker
WRITES = ("open", "os.rename", "os.link", "os.remove", "os.rmdir", "os.mkdir", "os.truncate")


def moments(params, last):
    '''Runs featurize in a process that SIGKILL ends at its write number `last`; how many there were, if it lived.'''
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        count = 0

        def watch(event, arguments):
            nonlocal count
            reads = event == "open" and not (isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR))
            if event in WRITES and not reads:
                count += 1
                if count == last:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(watch)
        try:
            featurize(params, 1)
            os.write(writer, str(count).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader) as pipe:
        told = pipe.read()
    _, status = os.waitpid(child, 0)
    if last:
        assert os.WIFSIGNALED(status) == (not told), "ended by the signal, or well"
    else:
        assert told, "it must end well"
    return int(told or 0)


with open("params.pkl", "rb") as file:
    params = pickle.load(file)
shutil.copytree("given", "whole", symlinks=True)
os.chdir("whole")
total = moments(params, 0)
chosen = random.Random(sys.argv[1])
for name in sys.argv[2:]:
    os.chdir("..")
    shutil.copytree("given", name, symlinks=True)
    os.chdir(name)
    assert moments(params, chosen.randint(1, total)) == 0, "nothing was done yet: it is killed"
    moments(params, chosen.randint(1, total))  # killed, or finished by then
    moments(params, 0)
print(total)
"""


def of_folder(folder: Path, make: MakeParams) -> Params:
    (folder / "audio").mkdir()
    lines = ["path,labels,split"]
    for index in range(14):
        name = f"{index}.{('wav', 'flac', 'ogg')[index % 3]}"
        soundfile.write(folder / "audio" / name, noise(index), 44_100)
        lines.append(f"audio/{name},{('Speech', 'Music')[index % 2]},{('train', 'val', 'test')[index % 3]}")
    (folder / "clips.csv").write_text("\n".join([*lines, "audio/gone.wav,Speech,test"]) + "\n")
    return make(preset="folder", kind="folder", csv="clips.csv", clip_seconds=1.0)


def noise(seed: int) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal(10_000 + 500 * seed)


def of_audio(folder: Path, make: MakeParams) -> Params:
    return test_blocks.many(folder, 14)


def of_hdf5(folder: Path, make: MakeParams) -> Params:
    for seed, (name, count) in enumerate({"train": 11, "val": 3, "test": 5}.items()):
        test_hdf5.write_hdf5(folder / f"{name}.h5", test_hdf5.names(name[0], count), seed)
    return test_hdf5.of_files(make)


def of_esc10(folder: Path, make: MakeParams) -> Params:
    (folder / "mirror/001 - Dog bark").mkdir(parents=True)
    found = []
    for fold in range(1, 6):
        path = folder / "mirror/001 - Dog bark" / f"{fold}-1-A.ogg"
        soundfile.write(path, noise(fold), 44_100)
        found.append(Recording(path.name, path.parent.name, fold, digest(path), "MIT", "me", "1", "none"))
    (folder / "data/raw/esc10").mkdir(parents=True)
    fetch_esc10(folder / "data/raw/esc10", folder / "mirror", folder / "cache", found)
    return make(preset="esc10", kind="esc10", clip_seconds=1.0)


def of_list(folder: Path, make: MakeParams) -> Params:
    test_lists.write_all(folder, "ast")
    return test_lists.of_lists(make, train="lists/train.json", val="lists/val.json", test="lists/test.json")


def of_form(form: str, in_place: bool = False) -> Callable[[Path, MakeParams], Params]:
    def write(folder: Path, make: MakeParams) -> Params:
        clips = {split: forms.made(split[0], count, samples=8_000) for split, count in SIZES.items()}
        return test_audioset.of_files(make, 0.25, forms.write_form(form, folder, clips) | {"in_place": in_place})

    return write


SIZES = {"train": 11, "val": 3, "test": 5}
KINDS = {"folder": of_folder, "audioset": of_audio, "hdf5": of_hdf5, "esc10": of_esc10} | {
    form: of_form(form) for form in ("parquet", "mp3", "tar")
}
KINDS["list"] = of_list
KINDS["folder in place"] = of_form("folder", in_place=True)
KILLED = ("first", "second", "third")


def check(folder: Path, params: Params, kind: str) -> None:
    """What is featurized from `folder`/given without interruption and with kills is the same, in every byte."""
    (folder / "params.pkl").write_bytes(pickle.dumps(params))
    (folder / "script.py").write_text(SCRIPT)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    arguments = [sys.executable, "script.py", kind, *KILLED]
    done = subprocess.run(arguments, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 20, "there must be writes to be killed at"
    for below in ("data/packed", "results"):
        expected, *found = (same_bytes(folder / name / below) for name in ("whole", *KILLED))
        assert len(expected) >= 3 and all(each == expected for each in found)
    for name in KILLED:
        left = [path.name for path in (folder / name / ".cache/featurize").rglob("*") if path.is_file()]
        assert sorted(left) in ([f"{params.preset}.json", f"{params.preset}.lock"], [f"{params.preset}.lock"])


def same_bytes(folder: Path) -> dict[str, str]:
    """All files but the states of files read in place, which are copies here."""
    return {name: digest for name, digest in sums(folder).items() if not name.endswith(".in_place.json")}


@pytest.mark.parametrize("kind", KINDS)
def test_killed_at_seeded_writes_and_started_again_it_ends_with_the_same_bytes(
    tmp_path: Path, make: MakeParams, kind: str
) -> None:
    given = tmp_path / "given"
    given.mkdir()
    params = KINDS[kind](given, make)
    if kind != "esc10":  # which is fetched with a list of its own
        with contextlib.chdir(given):
            fetch(params)
    check(tmp_path, params, kind)


def test_the_default_preset_too(tmp_path: Path, packed: Path, make: MakeParams) -> None:
    raw, fetched = tmp_path / "given/data/raw/instruments", packed / "data/raw/instruments"
    (raw / instruments.SAMPLES).mkdir(parents=True)
    shutil.copyfile(fetched / instruments.PROVENANCE, raw / instruments.PROVENANCE)
    for path in sorted((fetched / instruments.SAMPLES).iterdir())[::3]:
        shutil.copyfile(path, raw / instruments.SAMPLES / path.name)
    check(tmp_path, make(), "instruments")


def command(folder: Path) -> list[str]:
    params = yaml.safe_load((ROOT / "presets/folder.yaml").read_text())
    params["data"] |= {"csv": "clips.csv", "max_bad_fraction": 1.0}
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    return [sys.executable, "-m", "harness", "featurize"]


def test_a_second_featurize_stops_and_a_killed_one_stops_nobody(tmp_path: Path, make: MakeParams) -> None:
    with contextlib.chdir(tmp_path):
        fetch(of_folder(tmp_path, make))
    arguments, environment = command(tmp_path), os.environ | {"PYTHONPATH": str(ROOT)}
    first = subprocess.Popen(arguments, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL)
    lock = tmp_path / ".cache/featurize/folder.lock"
    try:
        end = time.monotonic() + 60
        while not (lock.exists() and lock.read_text().endswith("\n")) and time.monotonic() < end:
            time.sleep(0.001)
        first.send_signal(signal.SIGSTOP)  # in the middle of its work, for as long as it takes
        assert first.poll() is None
        second = subprocess.run(arguments, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert second.returncode == 2
        assert second.stderr == (
            "error: .cache/featurize/folder.lock: featurize of preset folder runs already, as process "
            f"{first.pid}; wait for it or stop it\n"
        )
    finally:
        first.kill()
        first.wait()
    third = subprocess.run(arguments, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert third.returncode == 0, third.stderr
    assert (tmp_path / "data/packed/folder/manifest.csv").exists()


def test_the_lock_is_free_again_after_an_error_and_two_presets_do_not_meet(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), one_at_a_time(tmp_path / "deep/a.lock", "it"):
        raise ZeroDivisionError
    here = pytest.raises(UserError, match=rf"a\.lock: it runs already, as process {os.getpid()};")
    with one_at_a_time(tmp_path / "deep/a.lock", "it"), one_at_a_time(tmp_path / "deep/b.lock", "it"), here:
        one_at_a_time(tmp_path / "deep/a.lock", "it").__enter__()
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file/a\.lock: cannot be locked"):
        one_at_a_time(tmp_path / "file/a.lock", "it").__enter__()


REPLACED = """
import os, signal, sys
from pathlib import Path

from harness.base.folders import whole_folder

def replace(last):
    count = 0

    def watch(event, arguments):
        nonlocal count
        if event in ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir"):
            count += 1
            if count == last:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    with whole_folder(Path("packed")) as folder:
        for name in "abc":
            (folder / name).write_text("new")
    os._exit(0)

for last in range(1, 1000):
    with whole_folder(Path("packed")) as folder:
        for name in "abc":
            (folder / name).write_text("old")
    child = os.fork()
    if child == 0:
        replace(last)
    if os.waitpid(child, 0)[1] == 0:
        break
    print(*sorted(path.read_text() for path in Path("packed").glob("*")))
"""


def test_a_folder_that_is_replaced_is_never_half_there(tmp_path: Path) -> None:
    """Killed at every call in turn that opens, renames or deletes."""
    done = subprocess.run(
        [sys.executable, "-c", REPLACED],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = done.stdout.splitlines()
    assert set(found) == {"old old old", "", "new new new"} and len(found) > 8
