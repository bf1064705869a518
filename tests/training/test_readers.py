"""Processes that read ahead: little shared memory, one that is killed, one that waits, one that cannot hand over."""

from __future__ import annotations

import multiprocessing
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from harness.base.errors import Stopped, UserError
from harness.data.clips.clips import PackedClips
from harness.running import signals
from harness.training import reading
from tests.conftest import ROOT
from tests.data_stage.test_again import SMALL_DISK, can_mount
from tests.training.conftest import Folder

MODEL = "convnext_audio_tiny"


class Clips(PackedClips):
    """Eight silent clips, with something done before a reader reads one."""

    main = os.getpid()
    act: Callable[[], object]

    def waveform(self, index: int) -> np.ndarray:
        if os.getpid() != self.main:
            type(self).act()
        return np.zeros(1000, np.float32)

    @property
    def targets(self) -> np.ndarray:  # type: ignore[override]
        return np.zeros((8, 2), np.float32)


def clips(act: Callable[[], object]) -> PackedClips:
    return type("Acting", (Clips,), {"act": staticmethod(act), "main": os.getpid()})([], [], [], {}, 1000)


def read_all(act: Callable[[], object]) -> list[reading.RawBatch]:
    with reading.readers():
        return list(reading.read(clips(act), np.arange(8), 2, [0, 1, 2, 3], 2))


def test_a_reader_that_is_killed_is_one_line() -> None:
    with pytest.raises(UserError, match=r"a reader was killed by signal Killed \(out of memory\?\); run it again"):
        read_all(lambda: os.kill(os.getpid(), signal.SIGKILL))
    assert not multiprocessing.active_children()


def test_an_error_while_a_batch_is_handed_over_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(raw: reading.RawBatch, protocol: int) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(reading.RawBatch, "__reduce_ex__", fail)
    with pytest.raises(UserError, match=r"a reader could not hand over a batch \(out of memory, or too many open"):
        read_all(lambda: None)


def test_one_sigterm_ends_a_run_whose_readers_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "PATIENCE", 1)
    threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGTERM)).start()
    began = time.monotonic()
    waiting = reading.read(clips(lambda: time.sleep(600)), np.arange(8), 2, [0], 2)
    with (
        pytest.raises(Stopped, match="stopped while it waited for clips"),
        signals.stop_requests(),
        reading.readers(),
        signals.may_take_long(),
    ):
        next(waiting)
    assert time.monotonic() - began < 10 and not multiprocessing.active_children()


@pytest.mark.skipif(not can_mount(), reason="small shared memory cannot be mounted here")
@pytest.mark.parametrize("megabytes", [1, 0])
def test_little_shared_memory_changes_no_bit(new_folder: Folder, megabytes: int) -> None:
    """A micro-batch is half a megabyte here; where there is next to nothing even readers cannot be started."""
    weights = []
    for workers in (0, 2) if megabytes else (2,):
        folder = new_folder(f"workers-{workers}", execution__workers=workers)
        script = f"""
            mount -t tmpfs -o size=1m none /dev/shm || exit 9
            [ {megabytes} = 0 ] && head -c 2m /dev/zero > /dev/shm/full 2> /dev/null
            exec {shlex.quote(sys.executable)} -m harness train --model {MODEL} --seed 0
        """
        environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [*SMALL_DISK, "sh", "-c", script], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
        )
        if workers and not megabytes:
            assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
            assert done.stderr.startswith("error: execution.workers: 2 readers cannot be started"), done.stderr
            return
        assert not done.returncode, done.stderr
        weights.append(Path(folder, f"runs/folder/{MODEL}-0/model.safetensors").read_bytes())
    assert weights[0] == weights[1]
