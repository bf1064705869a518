"""Runs killed at seeded moments by real signals, started again, and compared byte for byte with undisturbed ones."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from harness.running import signals
from tests.conftest import MODELS
from tests.training.conftest import Folder, folder_with
from tests.training.processes import Nursery, Started

MOMENTS = 20
RUN = {"execution__checkpoint_steps": 1}


RESULTS = ("training/history.csv", "training/positions.csv", "evaluation/metrics.json")


def command(stage: str, model: str) -> list[str]:
    return [stage, "--model", model, "--seed", "0"]


def bytes_of(folder: Path, model: str) -> dict[str, bytes]:
    """What must not depend on the disturbance."""
    names = [f"runs/folder/{model}-0/{name}" for name in ("model.safetensors", "best.safetensors", "positions.npz")]
    names += [f"results/folder/runs/{model}-0/{name}" for name in RESULTS]
    return {name: (folder / name).read_bytes() for name in names}


def checkpoints(folder: Path) -> Path | None:
    """Where the unfinished run's checkpoints are."""
    return next(iter(folder.glob(".cache/resume/*/*")), None)


def is_alive(started: Started) -> bool:
    stat = Path(f"/proc/{started.pid}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for_a_write(folder: Path, started: Started, after: int) -> None:
    """Return while a file is being written, the `after`-th that is seen."""
    seen: set[str] = set()
    while is_alive(started) and len(seen) < after:
        here = checkpoints(folder)
        for entry in os.listdir(here) if here and here.is_dir() else ():
            if entry.endswith(".tmp"):
                seen.add(entry)


@pytest.mark.parametrize("model", MODELS)
def test_a_killed_run_ends_as_an_undisturbed_one(nursery: Nursery, new_folder: Folder, model: str) -> None:
    """Each model is killed at three or four of the 20 moments, one after another, before it may end."""
    whole, folder = new_folder("whole", **RUN), new_folder("killed", **RUN)
    started_at = time.monotonic()
    nursery.run(whole, *command("train", model))
    took = time.monotonic() - started_at
    nursery.run(whole, *command("evaluate", model))

    random = np.random.default_rng(MODELS.index(model))
    killed = 0
    for moment in range(MODELS.index(model), MOMENTS, len(MODELS)):
        started = nursery.start(folder, *command("train", model))
        kind = ("any time", "writing", "SIGTERM", "SIGINT", "truncated")[moment % 5]
        if kind == "writing":
            wait_for_a_write(folder, started, after=int(random.integers(1, 6)))
        else:
            time.sleep(random.uniform(0.05, 0.7) * took)
        number = {"SIGTERM": signal.SIGTERM, "SIGINT": signal.SIGINT}.get(kind, signal.SIGKILL)
        if is_alive(started):
            os.kill(started.pid, number)
        status = started.wait()
        killed += status != 0
        said = started.log.read_text()
        assert status in (0, -signal.SIGKILL, 128 + number, -number), (kind, said)
        assert "Traceback" not in said or kind == "SIGINT"  # Ctrl-C before the run has begun is Python's own
        here = checkpoints(folder)
        if kind == "truncated" and here:
            newest = max(here.iterdir(), key=lambda path: path.stat().st_mtime_ns, default=None)
            if newest:
                os.truncate(newest, newest.stat().st_size // 2)
    assert killed >= 1
    nursery.run(folder, *command("train", model))
    nursery.run(folder, *command("evaluate", model))
    assert bytes_of(folder, model) == bytes_of(whole, model)
    assert not list(folder.rglob("*.tmp")) and checkpoints(folder) is None


MODEL = "fastvit_dcls_audio_sa24"
LONG = dict.fromkeys((f"systems__{MODEL}__schedule__epochs",), 8)  # so that it is stopped well before its end


@pytest.fixture(scope="module")
def stopped(nursery: Nursery, featurized: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that SIGTERM stopped after two epochs or a little more."""
    folder = folder_with(featurized, tmp_path_factory.mktemp("stopped") / "stopped", **LONG)
    started = nursery.start(folder, *command("train", MODEL))
    while "epoch 2/" not in started.log.read_text():
        time.sleep(0.001)
    os.kill(started.pid, signal.SIGTERM)
    assert started.wait() == 128 + signal.SIGTERM, started.log.read_text()
    assert "its checkpoint is written, run it again to go on" in started.log.read_text()
    return folder


@pytest.fixture(scope="module")
def undisturbed(nursery: Nursery, featurized: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = folder_with(featurized, tmp_path_factory.mktemp("undisturbed") / "undisturbed", **LONG)
    nursery.run(folder, *command("train", MODEL))
    nursery.run(folder, *command("evaluate", MODEL))
    return bytes_of(folder, MODEL)


@pytest.mark.parametrize("damage", ["tensors", "record", "best", "flipped bit", "gone", "all"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_taken(
    nursery: Nursery, stopped: Path, undisturbed: dict[str, bytes], damage: str, tmp_path: Path
) -> None:
    folder = shutil.copytree(stopped, tmp_path / "damaged")
    here = checkpoints(folder)
    assert here is not None
    records = sorted(here.glob("?????????.json"))
    assert len(records) == 2
    bests = [here / json.loads(record.read_text())["content"]["progress"]["best"] for record in records]
    best = bests[-1]
    path = {"tensors": records[-1].with_suffix(".safetensors"), "best": best}.get(damage, records[-1])
    if damage == "gone":
        path.with_suffix(".safetensors").unlink()
    elif damage == "flipped bit":
        content = bytearray(path.with_suffix(".safetensors").read_bytes())
        content[len(content) // 2] ^= 1
        path.with_suffix(".safetensors").write_bytes(content)
    elif damage == "all":
        for record in records:
            os.truncate(record, 10)
    else:
        os.truncate(path, path.stat().st_size // 2)
    said = nursery.run(folder, *command("train", MODEL))
    assert ": damaged; trying the checkpoint before" in said
    from_zero = damage == "all" or (damage == "best" and bests[0] == best)  # both checkpoints need that file
    assert ("going on after epoch" in said) != from_zero
    nursery.run(folder, *command("evaluate", MODEL))
    assert bytes_of(folder, MODEL) == undisturbed


def test_a_second_signal_soon_after_is_the_same_wish(nursery: Nursery, new_folder: Folder) -> None:
    """Slurm signals a process and its group, torchrun its processes after a terminal has."""
    folder = new_folder("signalled", **LONG | {f"systems__{MODEL}__schedule__epochs": 500})
    started = start_and_wait_for_a_checkpoint(nursery, folder)
    os.kill(started.pid, signal.SIGTERM)
    os.kill(started.pid, signal.SIGINT)
    assert started.wait() in (128 + signal.SIGTERM, 128 + signal.SIGINT)
    assert "its checkpoint is written, run it again to go on" in started.log.read_text()


def test_a_signal_that_comes_later_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "AT_ONCE", 0.0)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a parallel test run ignores it
    try:
        with signals.stop_requests() as received:
            signal.raise_signal(signal.SIGINT)
            time.sleep(0.01)
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
        assert received == [signal.SIGINT, signal.SIGINT]
    finally:
        signal.signal(signal.SIGINT, before)


def start_and_wait_for_a_checkpoint(nursery: Nursery, folder: Path) -> Started:
    started = nursery.start(folder, *command("train", MODEL))
    while not list(folder.glob(".cache/resume/*/*/?????????.json")):
        assert is_alive(started), started.log.read_text()
        time.sleep(0.001)
    return started


@pytest.mark.parametrize("trouble", ["full disk", "vanished mount", "a file in the way"])
def test_a_disk_in_trouble_stops_with_one_line_and_loses_nothing(
    nursery: Nursery, new_folder: Folder, undisturbed: dict[str, bytes], trouble: str
) -> None:
    folder = new_folder("trouble", **LONG)
    away = folder / "away"
    if trouble == "a file in the way":
        (folder / ".cache").mkdir()
        (folder / ".cache" / "resume").write_text("")
        started = nursery.start(folder, *command("train", MODEL))
    else:
        started = start_and_wait_for_a_checkpoint(nursery, folder)
        if trouble == "full disk":  # from here on no file may grow beyond 4 kB
            resource.prlimit(started.pid, resource.RLIMIT_FSIZE, (4096, 4096))
        else:
            (folder / ".cache" / "resume").rename(away)
    assert started.wait() == 2
    errors = [line for line in started.log.read_text().splitlines() if not line.startswith(MODEL)]
    assert len(errors) == 1 and errors[0].startswith("error: .cache/resume/")
    expected = {
        "full disk": ("File too large",),
        "vanished mount": ("is gone", "No such file"),
        "a file in the way": ("Not a directory",),
    }
    assert any(words in errors[0] for words in expected[trouble])
    if trouble == "a file in the way":
        (folder / ".cache" / "resume").unlink()
    if trouble == "vanished mount":
        assert not (folder / ".cache" / "resume").exists()
        away.rename(folder / ".cache" / "resume")
    said = nursery.run(folder, *command("train", MODEL))
    assert ("going on after epoch" in said) == (trouble != "a file in the way")
    nursery.run(folder, *command("evaluate", MODEL))
    assert bytes_of(folder, MODEL) == undisturbed


def test_other_parameters_start_from_zero_and_execution_does_not(
    nursery: Nursery, new_folder: Folder, stopped: Path
) -> None:
    other = new_folder("other", **LONG, train__weight_decay=0.0)
    workers = new_folder("workers", **LONG, execution__workers=1, execution__checkpoints_kept=5)
    for folder, goes_on in ((other, False), (workers, True)):
        shutil.copytree(stopped / ".cache", folder / ".cache", dirs_exist_ok=True)
        assert ("going on after epoch" in nursery.run(folder, *command("train", MODEL))) == goes_on
