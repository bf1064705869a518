"""Weights as safetensors: never a pickle, so that loading a file runs nothing from it."""

from __future__ import annotations

from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from harness.base.errors import UserError
from harness.base.files import write_bytes


def save_weights(path: Path, model: nn.Module, metadata: dict[str, str] | None = None) -> None:
    """The state dict as safetensors; tensors that DCLS layers share are written under each of their names."""
    write_bytes(path, serialized(model, metadata))


def serialized(model: nn.Module, metadata: dict[str, str] | None = None) -> bytes:
    """What `save_weights` writes."""
    return safetensors.torch.save(separate(model.state_dict()), metadata)


def with_metadata(content: bytes, metadata: dict[str, str]) -> bytes:
    """The same tensors with this metadata."""
    return safetensors.torch.save(safetensors.torch.load(content), metadata)


def load_weights(path: Path, model: nn.Module) -> None:
    """Raises UserError, naming the file, where it is missing, damaged, or made for another model."""
    try:
        model.load_state_dict(safetensors.torch.load_file(path))
    except FileNotFoundError as error:
        raise UserError(f"{path}: missing; run the train stage first") from error
    except (OSError, SafetensorError, RuntimeError) as error:
        raise UserError(f"{path}: does not load ({' '.join(str(error).split())[:300]}); train again") from error


def separate(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous copies on the CPU: safetensors refuses tensors that share storage."""
    return {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
    }
