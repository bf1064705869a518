"""Resume state and weights: tensors as safetensors, the rest as JSON in the same file. No pickle."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from harness.errors import UserError
from harness.files import write_bytes


@dataclass(frozen=True)
class Resumed:
    """What an interrupted run had finished: rows of its history, recorded positions, and the next epoch."""

    next_epoch: int
    best_map: float
    history: list[dict[str, float]]
    positions: dict[str, Tensor]


def save_weights(path: Path, model: nn.Module) -> None:
    """The state dict as safetensors; tensors that DCLS layers share are written under each of their names."""
    write_bytes(path, safetensors.torch.save(_copies(model.state_dict())))


def load_weights(path: Path, model: nn.Module) -> None:
    """Raises UserError, naming the file, where it is missing, damaged, or made for another model."""
    try:
        model.load_state_dict(safetensors.torch.load_file(path))
    except FileNotFoundError as error:
        raise UserError(f"{path}: missing; run the train stage first") from error
    except (OSError, SafetensorError, RuntimeError) as error:
        raise UserError(f"{path}: does not load ({' '.join(str(error).split())[:300]}); train again") from error


def save_resume(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    next_epoch: int,
    best_map: float,
    history: list[dict[str, float]],
    positions: dict[str, Tensor],
) -> None:
    """Everything that the next epoch depends on. Randomness needs no state: it is drawn from (seed, epoch, index)."""
    tensors = {f"model/{name}": tensor for name, tensor in model.state_dict().items()}
    tensors |= {f"positions/{name}": tensor for name, tensor in positions.items()}
    state = optimizer.state_dict()
    numbers: dict[str, dict[str, Any]] = {}
    for index, slots in state["state"].items():
        for name, value in slots.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer/{index}/{name}"] = value
            else:
                numbers.setdefault(str(index), {})[name] = value
    rest = {
        "next_epoch": next_epoch,
        "best_map": best_map,
        "history": history,
        "optimizer_groups": [{name: _plain(value) for name, value in group.items()} for group in state["param_groups"]],
        "optimizer_numbers": numbers,
    }
    write_bytes(path, safetensors.torch.save(_copies(tensors), metadata={"state": json.dumps(rest)}))


def load_resume(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> Resumed | None:
    """Fill model and optimizer from an interrupted run; None where there is none (a damaged one is named on stderr)."""
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            rest = json.loads(file.metadata()["state"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        print(f"{path}: damaged ({error}); training starts from zero", file=sys.stderr)
        return None
    model.load_state_dict(_under(tensors, "model/"))
    slots: dict[int, dict[str, Any]] = {int(index): dict(values) for index, values in rest["optimizer_numbers"].items()}
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for name, tensor in _under(tensors, "optimizer/").items():
        index, _, slot = name.partition("/")
        parameter = parameters[int(index)]
        if tensor.shape == parameter.shape:  # fused AdamW walks memory: state must lie as its parameter does
            tensor = torch.empty_like(parameter, device="cpu").copy_(tensor)
        slots.setdefault(int(index), {})[slot] = tensor
    optimizer.load_state_dict({"state": slots, "param_groups": rest["optimizer_groups"]})
    return Resumed(rest["next_epoch"], rest["best_map"], rest["history"], _under(tensors, "positions/"))


def _plain(value: Any) -> Any:
    """timm's LAMB counts its steps in a tensor."""
    return value.item() if isinstance(value, Tensor) else value


def _copies(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous copies on the CPU: safetensors refuses tensors that share storage."""
    return {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
    }


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
