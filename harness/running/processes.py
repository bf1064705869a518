"""The processes of a run: one, or as many as torchrun started, which agree through gloo (CPU) or NCCL (GPUs)."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from threadpoolctl import threadpool_limits
from torch import Tensor, distributed

from harness.base.errors import UserError
from harness.models.device import default_device

T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """This process, of how many, and the device that it computes on. Every method is called by all of them at once."""

    rank: int
    size: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes files and prints."""
        return self.rank == 0

    def gather(self, values: Tensor) -> Tensor:
        """(n,) of each process, all of one length, as (processes, n) on the CPU, in the order of their ranks."""
        if self.size == 1:
            return values.cpu()[None]
        gathered = [torch.empty_like(values) for _ in range(self.size)]
        distributed.all_gather(gathered, values.contiguous())
        return torch.stack(gathered).cpu()

    def total(self, values: Tensor) -> Tensor:
        """Their sum over the processes, in place."""
        if self.size > 1:
            distributed.all_reduce(values)
        return values

    def wait(self) -> None:
        """Until every process is here."""
        self.total(torch.zeros(1, device=self.device))

    def first(self, value: T) -> T:
        """The first process's value, which is small."""
        if self.size == 1:
            return value
        values = [value]
        distributed.broadcast_object_list(values, src=0, device=self.device)
        return values[0]


def use_threads(count: int) -> None:
    """Compute on this many CPU threads from here on: PyTorch, and the linear algebra of NumPy and scikit-learn.

    PyTorch's other pool, `set_num_interop_threads`, is for TorchScript's forks, of which there are none here.
    """
    torch.set_num_threads(count)
    threadpool_limits(count)


def single_process() -> World:
    """A process for itself."""
    return World(0, 1, default_device())


@contextmanager
def joined() -> Iterator[World]:
    """The processes that torchrun started, a GPU each where there are GPUs; without torchrun, this one alone.

    Raises UserError where a machine has more processes than GPUs.
    """
    if not distributed.is_torchelastic_launched():
        yield single_process()
        return
    device = torch.device("cpu")
    if torch.cuda.is_available():
        local = distributed.get_node_local_rank()
        if local >= torch.cuda.device_count():
            raise UserError(
                f"torchrun --nproc-per-node: process {local + 1} of this machine has no GPU, as it has "
                f"{torch.cuda.device_count()}; start at most that many"
            )
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield World(distributed.get_rank(), distributed.get_world_size(), device)
    except BaseException as error:
        # a model left in these frames would be the last to hold the group, and would keep the interpreter's lock while
        # it waits for gloo's threads, which may be waiting for that lock
        traceback.clear_frames(error.__traceback__)
        raise
    finally:
        distributed.destroy_process_group()
