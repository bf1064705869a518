"""Whether Triton's kernels can run here. Does not import Triton, which not every build of torch brings."""

import importlib.util
import os

import torch
from torch import Tensor

INSTALLED = importlib.util.find_spec("triton") is not None  # looked up here, as torch.compile cannot trace it


def can_run(input: Tensor) -> bool:
    """Whether Triton's kernels can run on this tensor: on CUDA from compute capability 8.0 on, 16 or 32 bits.

    On a CPU only in Triton's interpreter (TRITON_INTERPRET=1), which is for tests.
    """
    if input.dtype not in (torch.float32, torch.float16, torch.bfloat16) or not INSTALLED:
        return False
    if input.device.type == "cuda":
        return torch.cuda.get_device_capability(input.device) >= (8, 0)
    return input.device.type == "cpu" and os.environ.get("TRITON_INTERPRET") == "1"
