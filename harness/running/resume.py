"""Checkpoints of an unfinished run: the newest few and the best, each checked by its SHA-256 before it is used.

`NUMBER.safetensors` holds the tensors, `NUMBER.json` the rest and the SHA-256 of all that belongs to it; the JSON is
written last, so that a checkpoint without it was never finished. NUMBER counts optimizer steps.
"""

from __future__ import annotations

import errno
import hashlib
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from harness.base.errors import UserError
from harness.base.files import remove_leftovers, sha256_of, write_atomic
from harness.running.checkpoint import separate, serialized


@dataclass(frozen=True)
class Progress:
    """How far a run is: `epoch` epochs and `step` steps of the next; losses are of that next epoch's micro-batches."""

    epoch: int = 0
    step: int = 0
    losses: tuple[float, ...] = ()
    history: tuple[dict[str, float], ...] = ()
    best_map: float = -1.0
    best: str = ""  # file of the weights with the best val mAP so far, in the run's folder
    positions: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Trainee:
    """What a checkpoint fills: everything that a step changes. Randomness is not in it, being drawn from numbers."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    average: nn.Module | None

    @property
    def weights(self) -> nn.Module:
        """The model that is validated, kept and evaluated: the average where there is one."""
        return self.model if self.average is None else self.average.module  # type: ignore[return-value]


def save(folder: Path, number: int, trainee: Trainee, progress: Progress, kept: int) -> None:
    """Write a checkpoint, then delete all but the newest `kept` and what these need.

    Raises UserError where the folder is gone or cannot be written; the checkpoints before stay usable.
    """
    tensors, rest = _state(trainee)
    tensors |= {f"positions/{name}": tensor for name, tensor in progress.positions.items()}
    path = folder / f"{number:09d}.safetensors"
    with on_disk(folder):
        _write(path, safetensors.torch.save(separate(tensors)))
        _finish(path, [path.name, *([progress.best] if progress.best else [])], progress, rest, kept)


def _finish(path: Path, needed: list[str], progress: Progress, rest: dict[str, Any], kept: int) -> None:
    """Write the record of a checkpoint whose tensors are written, and delete what is no longer needed."""
    folder = path.parent
    content = {
        "progress": vars(progress) | {"positions": list(progress.positions)},  # in their order, which files lose
        "state": rest,
        "sha256": {name: sha256_of(folder / name) for name in needed},
    }
    _write(path.with_suffix(".json"), json.dumps({"content": content, "sha256": _digest(content)}).encode())
    records = sorted(folder.glob("?????????.json"))[-kept:]
    wanted = {name for record in records for name in _needed(record)} | {record.name for record in records}
    for path in folder.iterdir():
        if path.name not in wanted:
            path.unlink(missing_ok=True)


@contextmanager
def on_disk(folder: Path) -> Iterator[None]:
    """What goes wrong with the files of `folder` within this becomes a UserError."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{folder}: is gone, or cannot be read ({error.strerror}); mount it again and start again"
        ) from error


def save_best(folder: Path, number: int, trainee: Trainee) -> str:
    """Write the weights under a name that the next checkpoint is to give as `best`."""
    name = f"best-{number:09d}.safetensors"
    with on_disk(folder):
        _write(folder / name, serialized(trainee.weights))
    return name


def _write(path: Path, content: bytes) -> None:
    """Where the folder is gone it is not made again: on a mount that vanished that would be another disk."""
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "No such folder")
    write_atomic(path, lambda file: file.write(content), make_folder=False)


def newest(folder: Path) -> int | None:
    """The number of the newest checkpoint of which every byte is as written; damaged ones are named on stderr."""
    if not folder.is_dir():
        return None
    remove_leftovers(folder)
    for path in sorted(folder.glob("?????????.json"), reverse=True):
        damaged = _damaged(path)
        if not damaged:
            return int(path.stem)
        print(f"{folder / damaged}: damaged; trying the checkpoint before {path.stem}", file=sys.stderr)
        path.unlink()
    return None


def load(folder: Path, number: int, trainee: Trainee) -> Progress:
    """Fill `trainee` from a checkpoint that `newest` has found."""
    path = folder / f"{number:09d}.json"
    content = json.loads(path.read_text())["content"]
    tensors, rest = safetensors.torch.load_file(path.with_suffix(".safetensors")), content["state"]
    trainee.model.load_state_dict(_under(tensors, "model/"))
    if trainee.average is not None:
        trainee.average.load_state_dict(_under(tensors, "average/"))
    trainee.scaler.load_state_dict(rest["scaler"])
    slots: dict[int, dict[str, Any]] = {int(index): dict(values) for index, values in rest["optimizer_numbers"].items()}
    parameters = [parameter for group in trainee.optimizer.param_groups for parameter in group["params"]]
    for name, tensor in _under(tensors, "optimizer/").items():
        index, _, slot = name.partition("/")
        parameter = parameters[int(index)]
        if tensor.shape == parameter.shape:  # fused AdamW walks memory: state must lie as its parameter does
            tensor = torch.empty_like(parameter, device="cpu").copy_(tensor)
        slots.setdefault(int(index), {})[slot] = tensor
    trainee.optimizer.load_state_dict({"state": slots, "param_groups": rest["optimizer_groups"]})
    progress = content["progress"]
    progress |= {"losses": tuple(progress["losses"]), "history": tuple(progress["history"])}
    positions = _under(tensors, "positions/")
    return Progress(**progress | {"positions": {name: positions[name] for name in progress["positions"]}})


def _state(trainee: Trainee) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors, and what is none."""
    tensors = {f"model/{name}": tensor for name, tensor in trainee.model.state_dict().items()}
    if trainee.average is not None:
        tensors |= {f"average/{name}": tensor for name, tensor in trainee.average.state_dict().items()}
    state = trainee.optimizer.state_dict()
    numbers: dict[str, dict[str, Any]] = {}
    for index, slots in state["state"].items():
        for name, value in slots.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer/{index}/{name}"] = value
            else:
                numbers.setdefault(str(index), {})[name] = value
    groups = [{name: _plain(value) for name, value in group.items()} for group in state["param_groups"]]
    return tensors, {
        "optimizer_groups": groups,
        "optimizer_numbers": numbers,
        "scaler": trainee.scaler.state_dict(),
    }


def _damaged(path: Path) -> str | None:
    """The file of a checkpoint that is not as it was written, or None."""
    try:
        written = json.loads(path.read_text())
        if _digest(written["content"]) != written["sha256"]:
            return path.name
        expected = written["content"]["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return path.name
    for name, digest in expected.items():
        try:
            if sha256_of(path.with_name(name)) != digest:
                return name
        except OSError:
            return name
    return None


def _needed(path: Path) -> list[str]:
    try:
        return list(json.loads(path.read_text())["content"]["sha256"])
    except (OSError, ValueError, KeyError, TypeError):  # damaged: it keeps nothing alive
        return []


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _plain(value: Any) -> Any:
    """timm's LAMB counts its steps in a tensor."""
    return value.item() if isinstance(value, Tensor) else value


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
