"""Running something that may not fit into memory, or not work on this device: a reason instead of an exception."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import TypeVar

import torch

from harness.throughput.rows import OUT_OF_MEMORY

T = TypeVar("T")
# as the CPU, cuBLAS and, last, oneDNN say
NO_MEMORY = (
    "can't allocate memory",
    "not enough memory",
    "ALLOC_FAILED",
    "out of memory",
    "could not create a primitive",
)


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
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or any(one in said for one in NO_MEMORY):
        return OUT_OF_MEMORY
    return f"failed: {type(error).__name__}: {said[:200]}"
