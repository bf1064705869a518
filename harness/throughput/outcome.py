"""Running something that may not fit into memory, or not work on this device: a reason instead of an exception."""

from __future__ import annotations

import contextlib
import gc
import math
import resource
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch

from harness.throughput.rows import OUT_OF_MEMORY

T = TypeVar("T")
NO_MEMORY = ("can't allocate memory", "not enough memory", "ALLOC_FAILED", "out of memory")  # as the CPU and cuBLAS say
NO_PRIMITIVE = "could not create a primitive"  # oneDNN says this of too little memory and of what it cannot compute
LITTLE = 512 * 2**20  # bytes: with less than this left, memory is what oneDNN lacked


def attempt(run: Callable[[], T]) -> tuple[T | None, str]:
    """(what `run` returned, ""), or (None, why it failed); memory that the failure held is free again."""
    try:
        return run(), ""
    except Exception as error:  # a compiler's complaint, a missing kernel, no memory: many kinds
        reason = reason_of(error)
    gc.collect()  # here, where the traceback that held the tensors is gone
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return None, reason


def reason_of(error: BaseException) -> str:
    """A row's status in place of ok."""
    said = " ".join(str(error).split())
    no_memory = isinstance(error, torch.OutOfMemoryError | MemoryError) or any(one in said for one in NO_MEMORY)
    if no_memory or (NO_PRIMITIVE in said and memory_left() < LITTLE):
        return OUT_OF_MEMORY
    return f"failed: {type(error).__name__}: {said[:200]}"


def memory_left() -> float:
    """Bytes that this process can still take, by its own limit and by what the machine has free."""
    left = math.inf
    with contextlib.suppress(OSError, ValueError, StopIteration):  # no Linux
        lines = Path("/proc/meminfo").read_text().splitlines()
        left = 1024 * int(next(line for line in lines if line.startswith("MemAvailable")).split()[1])
        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if limit != resource.RLIM_INFINITY:
            taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            left = min(left, limit - taken)
    return left
