"""In which precision, and how repeatably, a model is trained; scores and other numbers are always float32."""

from __future__ import annotations

import os

import torch

import dcls
from harness.base.errors import UserError
from harness.config.params import Train

AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


def apply(train: Train, device: torch.device) -> None:
    """Set PyTorch's switches for this process. Raises UserError where the device does not have the precision."""
    if train.precision in ("tf32", "fp16") and device.type != "cuda":
        raise UserError(f"train.precision: is {train.precision}, which needs a CUDA GPU; make it float32 or bf16")
    exact_float32(train.precision != "tf32")
    if train.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what cuBLAS must have to be repeatable
        torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(train.deterministic)
    dcls.use_convolution(train.convolution)


def exact_float32(exact: bool = True) -> None:
    """Whether float32 is float32 on a GPU, where PyTorch's own default rounds a convolution's factors to tf32."""
    torch.backends.cudnn.allow_tf32 = not exact
    torch.backends.cuda.matmul.allow_tf32 = not exact


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """Around the model's forward pass."""
    return torch.autocast(device.type, AUTOCAST.get(precision), enabled=precision in AUTOCAST)
