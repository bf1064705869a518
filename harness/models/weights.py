"""Weights that others made: files read without running anything from them, and timm's translation into our names."""

from __future__ import annotations

import argparse
import math
import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

import safetensors.torch
import torch
from timm.models import convnext, fastvit, metaformer
from torch import Tensor, nn

from harness.base.errors import UserError

TRANSLATE = {
    "convnext": convnext.checkpoint_filter_fn,
    "convformer": metaformer.checkpoint_filter_fn,
    "fastvit": fastvit.checkpoint_filter_fn,
}
CLASSIFIERS = {"convnext": "head.fc", "convformer": "head.fc.fc2", "fastvit": "head.fc"}


class _Skipped:
    """Stands for a numpy value in the optimizer's part of a checkpoint, which nothing here reads."""

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, _: object) -> None:
        pass


# What the authors' files hold beside tensors: the options as a Namespace, with a path where Slurm started the run, and
# learning rates as numpy numbers. None of these can do anything; every other name is refused.
ALLOWED = [
    argparse.Namespace,
    *((PurePosixPath, f"pathlib{module}.PosixPath") for module in ("", "._local")),
    *((_Skipped, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    (_Skipped, "numpy.dtype"),
]


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """State dict, on the CPU, and metadata (JSON values: epoch, args; empty where there is none) of a weight file.

    Takes a pickled dict with the state dict as `model`, as the authors save it, a bare state dict, and safetensors.
    Nothing in the file is run: torch's weights-only reader builds tensors and the harmless values in ALLOWED.
    Raises UserError where the file is missing, cut short, no checkpoint, or its pickle names anything else.
    """
    if not path.is_file():
        raise UserError(f"{path}: missing; name an existing .pth or .safetensors file")
    try:
        with open(path, "rb") as file:
            start = file.read(512).lstrip()
        if path.suffix == ".safetensors":
            content: Any = safetensors.torch.load_file(path)
        else:
            # ignored: torch warns of unusual pickles before it refuses them
            with warnings.catch_warnings(action="ignore"), torch.serialization.safe_globals(ALLOWED):  # type: ignore[arg-type]
                content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can raise almost anything in the readers
        raise UserError(f"{path}: {_why_unreadable(start, error)}") from error
    whole = content if isinstance(content, Mapping) else {}
    wrapped = isinstance(whole.get("model"), Mapping)
    state = dict(whole["model"] if wrapped else whole)
    if not state or not all(isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()):
        raise UserError(f"{path}: holds no state dict, neither under `model` nor by itself; name a file of weights")
    metadata = {key: plain(whole[key]) for key in ("epoch", "args") if wrapped and key in whole}
    return state, metadata


def translated(family: str, state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Under timm's names and shapes, by timm's own filter; as it is where it fits already or the filter fails.

    `model` gives the shapes and may lie on the meta device.
    """
    if state.keys() == model.state_dict().keys():
        return state
    try:
        return dict(TRANSLATE[family](state, model))
    except (KeyError, RuntimeError, AttributeError, IndexError):  # another model's file: its own names say so best
        return state


def difference(given: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> str:
    """In a few words how tensors differ from those a model has in names or shapes; empty where they do not."""
    lacking = [key for key in wanted if key not in given]
    over = [key for key in given if key not in wanted]
    other = [
        f"{key} is {tuple(given[key].shape)}, not {tuple(tensor.shape)}"
        for key, tensor in wanted.items()
        if key in given and given[key].shape != tensor.shape
    ]
    parts = [(f"{len(lacking)} missing", lacking), (f"{len(over)} left over", over), (f"{len(other)} misshapen", other)]
    return "; ".join(f"{count} ({', '.join(names[:3])})" for count, names in parts if names)


def plain(value: Any) -> Any:
    """As a JSON value; what has none becomes the name of its type."""
    if isinstance(value, argparse.Namespace):
        value = vars(value)
    if isinstance(value, Mapping):
        return {str(key): _plain_leaf(one) for key, one in value.items()}
    return _plain_leaf(value)


def _plain_leaf(value: Any) -> Any:
    if isinstance(value, (list, tuple)) and all(isinstance(one, (str, int, float)) for one in value):
        return [_plain_leaf(one) for one in value]
    if isinstance(value, PurePath) or (isinstance(value, float) and not math.isfinite(value)):
        return str(value)
    return value if value is None or isinstance(value, (str, int, float)) else f"<{type(value).__name__.strip('_')}>"


def _why_unreadable(start: bytes, error: Exception) -> str:
    named = re.search(r"GLOBAL ([\w.]+)", str(error))
    if named or (isinstance(error, pickle.UnpicklingError) and start.startswith((b"PK", b"\x80"))):
        what = f"its pickle names {named[1]}" if named else "its pickle uses more than torch.save does"
        return f"refused: {what}, which weights do not need; nothing in it was run; get the file from its authors"
    if start.startswith(b"<"):
        return "is a web page, not a checkpoint; delete it and download the file itself"
    reason = " ".join(str(error).split())[:200]
    return f"does not load ({reason}); it is cut short, damaged or no checkpoint: delete it and get it again"
