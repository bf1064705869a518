"""What is seen of a training while it goes on, and that it is the same training."""

from __future__ import annotations

import csv
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from harness.base import paths
from harness.config.params import load
from harness.running.status import status
from harness.running.watch import _all_histories
from tests.training.conftest import Folder
from tests.training.processes import Nursery

MODEL = "convnext_dcls_audio_tiny"
TRAIN = ("train", "--model", MODEL, "--seed", "0")
RESULTS = Path("results/folder/runs") / f"{MODEL}-0" / "training"


@pytest.fixture
def row(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[[Path], list[str]]:
    """The cells that `status` prints of the run in a folder; of the matrix' other run it says that it is waiting."""

    def printed(folder: Path) -> list[str]:
        monkeypatch.chdir(folder)
        capsys.readouterr()
        failed = status(load(Path("params.yaml")))
        lines = capsys.readouterr().out.splitlines()
        cells = re.split(r"  +", next(line for line in lines if line.startswith(f"{MODEL}-0")).strip())
        assert failed == (cells[1] in ("failed", "lost"))
        assert lines[-1] == f"1 {cells[1]}, 1 waiting"
        return cells

    return printed


def wait_for(holds: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines())) if path.exists() else []


def test_a_run_is_seen_while_it_goes_on_and_resumed_and_is_the_same(
    nursery: Nursery, new_folder: Folder, row: Callable[[Path], list[str]]
) -> None:
    shape = {"models": [MODEL, "convnext_audio_tiny"], f"systems__{MODEL}__schedule__epochs": 12}
    plain, watched = new_folder("plain", **shape), new_folder("watched", **shape, execution__tensorboard=True)
    history, plotted = watched / RESULTS / "history.csv", watched / paths.plotted_history("folder")
    (watched / RESULTS).mkdir(parents=True)
    (watched / RESULTS / "run.json").write_text("{}")  # of an earlier run, which this history is not of
    for stop, code, state, words in (
        (signal.SIGTERM, 143, "stopped", "its checkpoint is written"),
        (signal.SIGKILL, -9, "lost", "its process is gone"),
    ):
        started, before = nursery.start(watched, *TRAIN), len(rows_of(plotted))
        wait_for(lambda before=before: len(rows_of(plotted)) > before + 2)  # type: ignore[misc]
        os.kill(started.pid, signal.SIGSTOP)  # or it might end before it is looked at
        assert len(rows_of(history)) >= before + 3 and not (watched / RESULTS / "run.json").exists()
        _, running, epoch, *_, checkpoint = row(watched)
        assert running == "running" and epoch.endswith("/12") and int(epoch[:-3]) >= before + 3
        assert " ago, step " in checkpoint
        os.kill(started.pid, stop)
        os.kill(started.pid, signal.SIGCONT)
        assert started.wait() == code
        assert row(watched)[1] == state and words in row(watched)[-1]
    nursery.run(watched, *TRAIN)
    nursery.run(plain, *TRAIN)
    assert row(watched)[1] == "trained"
    for name in ("history.csv", "positions.csv"):
        assert (plain / RESULTS / name).read_bytes() == (watched / RESULTS / name).read_bytes()
    weights = Path("runs/folder") / f"{MODEL}-0" / "model.safetensors"
    assert (plain / weights).read_bytes() == (watched / weights).read_bytes()
    events = EventAccumulator(str(watched / f"runs/folder/{MODEL}-0.tensorboard"), {"scalars": 0}).Reload()
    losses = events.Scalars("train/loss")
    assert [one.step for one in losses] == list(range(1, 25)), "each step once, whatever was interrupted"
    by_epoch = np.array([one.value for one in losses]).reshape(12, 2).mean(axis=1)
    recorded = [float(row["train_loss"]) for row in rows_of(history)]
    np.testing.assert_allclose(by_epoch, recorded, rtol=1e-6)
    assert [round(one.value, 6) for one in events.Scalars("epoch/val_mAP")] == [
        round(float(row["val_mAP"]), 6) for row in rows_of(history)
    ]
    assert not list(plain.glob("runs/folder/*.tensorboard"))


def test_what_a_killed_run_left_half_written_goes_and_what_others_write_stays(
    nursery: Nursery, new_folder: Folder
) -> None:
    folder = new_folder("folder", models=[MODEL])
    status, plotted = folder / paths.status("folder", MODEL, 0), folder / paths.plotted_history("folder")
    other = f".{plotted.name}.convnext_audio_tiny-0.tmp"
    for path, names in ((status, (f".{status.name}.17.tmp",)), (plotted, (f".{plotted.name}.{MODEL}-0.tmp", other))):
        path.parent.mkdir(parents=True)
        for name in names:
            path.with_name(name).write_text("epoch,tr")
    nursery.run(folder, *TRAIN)
    assert [path.name for path in folder.rglob("*.tmp")] == [other]


def test_a_run_that_cannot_start_says_why(
    nursery: Nursery, new_folder: Folder, row: Callable[[Path], list[str]]
) -> None:
    folder = new_folder("folder", models=[MODEL, "convnext_audio_tiny"], train__precision="fp16")
    nursery.run(folder, *TRAIN, status=2)
    assert row(folder)[1] == "failed" and "train.precision: is fp16, which needs a CUDA GPU" in row(folder)[-1]


def test_what_runs_plot_is_what_tables_plots(committed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(committed)
    params = load(Path("presets/instruments.yaml"))
    written = rows_of(paths.plotted_history(params.preset))
    assert [list(map(str, row)) for row in _all_histories(params)] == [list(row.values()) for row in written]
