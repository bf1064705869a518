"""Several processes, joined through gloo, train and score as one does."""

from __future__ import annotations

import csv
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from harness.audio.front_end import FrontEnd
from harness.running.processes import World
from harness.scoring.scores import score
from tests.conftest import MODELS, ROOT
from tests.training.conftest import Folder
from tests.training.processes import Nursery

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
RUN = {"train__micro_batch": 3, "execution__checkpoint_steps": 1}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def told(processes: int) -> dict[str, str]:
    """What torchrun tells all processes of a run in their environment."""
    return {
        "WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "TORCHELASTIC_RUN_ID": "test",
    }


def ranked(rank: int) -> dict[str, str]:
    """What it tells one of them."""
    return {"RANK": str(rank), "LOCAL_RANK": str(rank)}


def together(nurseries: list[Nursery], folder: Path, processes: int, *arguments: str, status: int = 0) -> str:
    """The same command in so many processes with what torchrun would tell them; what they printed."""
    world = told(processes)
    started = [
        nursery.start(folder, *arguments, log=f"log{rank}.txt", **world, **ranked(rank))
        for rank, nursery in enumerate(nurseries[:processes])
    ]
    statuses = [one.wait() for one in started]
    said = "".join(one.log.read_text() for one in started)
    assert statuses == [status] * processes, said
    return said


FAILING = """
import time
import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel
from harness.running.processes import joined

def work(world):
    model = DistributedDataParallel(torch.nn.Linear(4, 1))
    model(torch.ones(1, 4)).sum().backward()
    time.sleep(world.rank)
    gathered = [torch.zeros(1) for _ in range(world.size)]
    distributed.all_gather(gathered, torch.zeros(1), async_op=True)
    raise SystemExit(7)

with joined() as world:
    work(world)
"""


def test_a_failing_run_ends_while_gloo_is_at_work() -> None:
    """The error's frames hold the model, which held the group, which waited for threads that waited for Python."""
    world = ENVIRONMENT | told(2)
    started = [subprocess.Popen([sys.executable, "-c", FAILING], env=world | ranked(rank)) for rank in range(2)]
    try:
        assert [one.wait(timeout=120) for one in started] == [7, 7]
    finally:
        for one in started:
            one.kill()


def result_of(folder: Path, model: str) -> tuple[np.ndarray, dict[str, torch.Tensor]]:
    """The numbers of the history, and the weights."""
    with (folder / f"results/folder/runs/{model}-0/training/history.csv").open() as file:
        rows = [[float(value) for value in row.values()] for row in csv.DictReader(file)]
    return np.array(rows), safetensors.torch.load_file(folder / f"runs/folder/{model}-0/model.safetensors")


def same_weights(weights: dict[str, torch.Tensor], others: dict[str, torch.Tensor]) -> None:
    """But for rounding. Adam's first steps turn the sign of a gradient that is rounding into a step of full length, so
    one element in ten thousand may be off, by less than a learning rate.
    """
    beyond = elements = 0
    for name, tensor in weights.items():
        if not name.endswith("num_batches_tracked"):
            difference = (others[name] - tensor).abs()
            assert difference.max() <= 1e-3, name
            beyond += int((difference > 2e-4 + 1e-3 * tensor.abs()).sum())
            elements += tensor.numel()
    assert beyond <= 1e-4 * elements


@pytest.mark.parametrize("model", MODELS)
def test_one_two_and_four_processes_train_alike(nurseries: list[Nursery], new_folder: Folder, model: str) -> None:
    command = ["train", "--model", model, "--seed", "0"]
    alone = new_folder("alone", **RUN)
    nurseries[0].run(alone, *command)
    history, weights = result_of(alone, model)
    for processes in (2, 4):
        folder = new_folder(f"by{processes}", **RUN)
        said = together(nurseries, folder, processes, *command)
        assert f"batch 12 = 3 clips x {4 // processes} accumulated x {processes} processes, 2 steps an epoch" in said
        shared_history, shared_weights = result_of(folder, model)
        np.testing.assert_allclose(shared_history[:, :3], history[:, :3], rtol=2e-5)  # epoch, learning rate, loss
        same_weights(weights, shared_weights)  # running statistics of batch norm among them


def test_processes_that_compute_activations_again_train_alike(nurseries: list[Nursery], new_folder: Folder) -> None:
    """Batch norm's statistics then move twice a micro-batch, by less, which what the processes agree on must know."""
    model = "fastvit_dcls_audio_sa24"
    command = ["train", "--model", model, "--seed", "0"]
    options = RUN | {"train__activation_checkpointing": True}
    alone, folder = new_folder("alone", **options), new_folder("by2", **options)
    nurseries[0].run(alone, *command)
    together(nurseries, folder, 2, *command)
    history, weights = result_of(alone, model)
    shared_history, shared_weights = result_of(folder, model)
    np.testing.assert_allclose(shared_history[:, :3], history[:, :3], rtol=2e-5)
    same_weights(weights, shared_weights)


def test_the_comparison_would_see_other_batches(nurseries: list[Nursery], new_folder: Folder) -> None:
    """That the tolerances above are narrow: with other micro-batches the losses differ by more."""
    model = "fastvit_dcls_audio_sa24"
    command = ["train", "--model", model, "--seed", "0"]
    folders = [new_folder("three", **RUN), new_folder("six", train__micro_batch=6)]
    for folder in folders:
        nurseries[0].run(folder, *command)
    first, second = (result_of(folder, model)[0][:, 2] for folder in folders)
    assert np.abs(first / second - 1).max() > 1e-3


def test_a_run_goes_on_with_another_number_of_processes(nurseries: list[Nursery], new_folder: Folder) -> None:
    model = "convnext_dcls_audio_tiny"
    command = ["train", "--model", model, "--seed", "0"]
    alone, folder = new_folder("alone", **RUN), new_folder("changing", **RUN)
    nurseries[0].run(alone, *command)
    started = nurseries[0].start(folder, *command)
    while "epoch 1/" not in started.log.read_text():
        time.sleep(0.001)
    os.kill(started.pid, signal.SIGTERM)
    assert started.wait() == 128 + signal.SIGTERM
    assert "going on after epoch" in together(nurseries, folder, 2, *command)
    np.testing.assert_allclose(result_of(folder, model)[0][:, :3], result_of(alone, model)[0][:, :3], rtol=2e-5)


def test_torchrun_itself_and_bad_divisions(nurseries: list[Nursery], new_folder: Folder) -> None:
    model = "fastvit_audio_sa24"
    command = ["train", "--model", model, "--seed", "0"]
    folder = new_folder("torchrun", **RUN)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "harness"]
    done = subprocess.run([*torchrun, *command], cwd=folder, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "3 clips x 2 accumulated x 2 processes" in done.stdout
    assert done.stdout.count("epoch 3/3") == 1 and result_of(folder, model)[0].shape == (3, 4)

    said = together(nurseries, new_folder("bad", train__micro_batch=12), 2, *command, status=2)
    assert "train.micro_batch: is 12, but 2 processes share train.batch, 12; make it 6 or a divisor" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("processes", [2, 3, 4])
def test_every_clip_is_scored_once_whatever_the_division(
    nurseries: list[Nursery], new_folder: Folder, processes: int
) -> None:
    model = "convnext_audio_tiny"
    folder = new_folder("scored")
    nurseries[0].run(folder, "train", "--model", model, "--seed", "0")
    command, predictions = ["evaluate", "--model", model, "--seed", "0"], folder / f"predictions/folder/{model}-0.npz"
    nurseries[0].run(folder, *command)
    alone = predictions.read_bytes()
    predictions.unlink()
    together(nurseries, folder, processes, *command)  # 12 clips in batches of 5: ragged, and a process without any
    assert predictions.read_bytes() == alone


def test_a_clip_scored_twice_or_never_is_noticed() -> None:
    class Clips:
        labels, ids, targets = ["a"], ["x", "y", "z"], np.zeros((3, 1), np.float32)

        def __len__(self) -> int:
            return 3

        def waveform(self, index: int) -> np.ndarray:
            return np.zeros(1024, np.float32)

    class Twice(World):
        def total(self, values: torch.Tensor) -> torch.Tensor:
            return values * 2

    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(1))
    cpu = torch.device("cpu")
    assert score(model, FrontEnd(), Clips(), 2, World(0, 1, cpu)).shape == (3, 1)
    with pytest.raises(RuntimeError, match=r"not scored exactly once: \['x', 'y', 'z'\]"):
        score(model, FrontEnd(), Clips(), 2, Twice(0, 1, cpu))
    with pytest.raises(RuntimeError, match=r"not scored exactly once: \['z'\]"):
        score(model, FrontEnd(), Clips(), 2, Half(0, 2, cpu))
    Clips.ids = ["x", "y", "x"]
    with pytest.raises(RuntimeError, match="an id that stands twice"):
        score(model, FrontEnd(), Clips(), 2, World(0, 1, cpu))


class Half(World):
    """One of two processes, of which the other has done nothing."""

    def total(self, values: torch.Tensor) -> torch.Tensor:
        return values
