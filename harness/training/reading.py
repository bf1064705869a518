"""Readers: processes that read micro-batches ahead of the training, how they hand them over, and how they end."""

from __future__ import annotations

import multiprocessing
import multiprocessing.queues
import os
import re
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from harness.base.errors import UserError
from harness.data.clips.clips import Clips

SHARED = Path("/dev/shm")  # the memory in which torch hands tensors from process to process
AHEAD = 2  # micro-batches that a reader reads ahead: torch's own number
LOST = 70  # exit status of a reader that could not hand a batch over


@dataclass(frozen=True)
class RawBatch:
    """A micro-batch as read: its number in the epoch, the clips' indices, float32 (clips, samples) and targets.

    `piped`: it goes from process to process through a pipe, which takes longer than shared memory and needs none.
    """

    number: int
    indices: list[int]
    waveform: Tensor
    targets: Tensor
    piped: bool = False

    def pin_memory(self) -> RawBatch:
        """The same in page-locked memory, from which a GPU copies on its own.

        torch's DataLoader calls this by its name: of what it does not know it pins nothing else.
        """
        return replace(self, waveform=self.waveform.pin_memory(), targets=self.targets.pin_memory())

    def __reduce_ex__(self, protocol: Any) -> Any:
        if not self.piped:
            return super().__reduce_ex__(protocol)
        return _from_arrays, (self.number, self.indices, self.waveform.numpy(), self.targets.numpy())


def _from_arrays(number: int, indices: list[int], waveform: np.ndarray, targets: np.ndarray) -> RawBatch:
    return RawBatch(number, indices, torch.from_numpy(waveform), torch.from_numpy(targets))


class _RawBatches(Dataset[RawBatch | UserError]):
    """Micro-batches by number; an error is handed over as it is, to be raised where it is one line."""

    def __init__(self, clips: Clips, order: np.ndarray, micro_batch: int, piped: bool) -> None:
        self._clips, self._order, self._micro_batch, self._piped = clips, order, micro_batch, piped

    def __getitem__(self, number: int) -> RawBatch | UserError:
        indices = self._order[number * self._micro_batch : (number + 1) * self._micro_batch].tolist()
        try:
            waveform = torch.from_numpy(np.stack([self._clips.waveform(index) for index in indices]))
        except UserError as error:
            return error
        targets = torch.from_numpy(np.asarray(self._clips.targets[indices], np.float32))
        return RawBatch(number, indices, waveform, targets, self._piped)


def read(clips: Clips, order: np.ndarray, micro_batch: int, numbers: list[int], workers: int) -> Iterator[RawBatch]:
    """The numbered micro-batches, read by this process or ahead of it by `workers` others.

    Raises UserError where a clip cannot be read, or readers cannot be started.
    """
    size = micro_batch * clips.waveform(0).nbytes if workers else 0
    loader = DataLoader(
        _RawBatches(clips, order, micro_batch, piped=not _fits(size * (AHEAD * workers + 1))),
        batch_size=None,
        sampler=numbers,
        num_workers=workers,
        prefetch_factor=AHEAD if workers else None,
        worker_init_fn=_begin_reader,
        pin_memory=torch.cuda.is_available(),
    )
    try:  # what each reader needs besides: torch's own attempt would leave a traceback behind
        del [multiprocessing.Queue() for _ in range(workers + 2 if workers else 0)][:]
    except OSError as error:
        raise UserError(
            f"execution.workers: {workers} readers cannot be started ({error.strerror}); set it to 0, or free {SHARED}"
        ) from error
    for raw in loader:
        if isinstance(raw, UserError):
            raise raw
        yield raw


def _fits(size: int) -> bool:
    """Whether batches of so many bytes in all have room in shared memory, with as much left for others."""
    try:
        return 2 * size <= shutil.disk_usage(SHARED).free
    except OSError:
        return False


def _begin_reader(_: int) -> None:
    """Signals are for the training process to act on, which ends its readers; what cannot be handed over ends this one,
    as the training would wait for it for ever."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    lost = staticmethod(lambda error, batch: os._exit(LOST))
    multiprocessing.queues.Queue._on_queue_feeder_error = lost  # type: ignore[attr-defined]


@contextmanager
def readers() -> Iterator[None]:
    """What reads in it leaves no reader behind. Raises UserError where one was killed, at whatever moment."""
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        why = _in_words(f"{error} {error.__cause__}")
        raise UserError(f"execution.workers: {why}; run it again to go on, with fewer") from error
    finally:
        # torch's handler would raise for each that is ended here
        before = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for child in multiprocessing.active_children():
            child.kill()
            child.join()
        signal.signal(signal.SIGCHLD, before)


def _in_words(said: str) -> str:
    if "Bus error" in said:
        return f"a reader found no room in shared memory ({SHARED})"
    if f"exit code {LOST}" in said:
        return "a reader could not hand over a batch (out of memory, or too many open files?)"
    killed = re.search(r"killed by signal: (\w+)", said)
    return f"a reader was killed{f' by signal {killed[1]}' if killed else ''} (out of memory?)"
