"""Reading weight files of others: the authors' are taken as they are, and nothing in any file is run."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from harness.base.errors import UserError
from harness.models.weights import read_checkpoint
from harness.running.checkpoint import save_weights

OPTIONS = {
    "model": "convnext_dcls_audio_tiny",
    "lr": 4e-3,
    "clip_grad": None,
    "opt_betas": [0.9, 0.99],
    "dist_eval": True,
    "min_lr": np.inf,
}


def as_the_authors_save(state: dict[str, Tensor], path: Path, **how: Any) -> None:
    """Their options hold a path where Slurm started the run, their optimizer numpy learning rates."""
    model = nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.zeros(1, 2)).sum().backward()
    optimizer.step()
    optimizer.param_groups[0]["lr"] = np.linspace(0, 1, 5)[2]
    arguments = argparse.Namespace(**OPTIONS, output_dir=Path("/scratch/runs"), device=torch.device("cpu"))
    rest = {"optimizer": optimizer.state_dict(), "epoch": 59, "scaler": {}, "args": arguments}
    torch.save({"model": state, **rest}, path, **how)


@pytest.mark.parametrize("how", [{}, {"_use_new_zipfile_serialization": False}])
def test_the_authors_files_are_read(tmp_path: Path, how: dict[str, Any]) -> None:
    as_the_authors_save({"a.weight": torch.arange(3.0)}, tmp_path / "a.pth", **how)
    with pytest.raises(pickle.UnpicklingError):  # what torch alone lets through is less
        torch.load(tmp_path / "a.pth", weights_only=True)
    state, metadata = read_checkpoint(tmp_path / "a.pth")
    assert list(state) == ["a.weight"] and torch.equal(state["a.weight"], torch.arange(3.0))
    expected = OPTIONS | {"min_lr": "inf", "output_dir": "/scratch/runs", "device": "<device>"}
    assert metadata == {"epoch": 59, "args": expected}
    json.dumps(metadata, allow_nan=False)


def test_bare_state_dicts_and_ours_are_read(tmp_path: Path) -> None:
    model = nn.Linear(2, 3)
    torch.save(model.state_dict(), tmp_path / "bare.pth")
    save_weights(tmp_path / "ours.safetensors", model)
    for name in ("bare.pth", "ours.safetensors"):
        state, metadata = read_checkpoint(tmp_path / name)
        assert metadata == {} and torch.equal(state["weight"], model.weight) and set(state) == {"weight", "bias"}


class Runs:
    """Unpickled as usual, runs a command."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("where", ["model", "args", "inside args", "bare pickle", "old format"])
@pytest.mark.parametrize("function", [os.system, exec, os.mkdir])
def test_a_malicious_pickle_is_refused_and_nothing_is_run(
    tmp_path: Path, where: str, function: Callable[..., object]
) -> None:
    harm, path = tmp_path / "harm", tmp_path / "bad.pth"
    argument = {os.system: f"mkdir {harm}", exec: f"import os; os.mkdir({str(harm)!r})", os.mkdir: str(harm)}[function]
    bad = Runs(function, argument)
    state = {"a.weight": torch.zeros(1)}
    if where == "bare pickle":
        path.write_bytes(pickle.dumps(bad))
    elif where == "inside args":
        torch.save({"model": state, "args": argparse.Namespace(lr=1.0, more=[bad])}, path)
    else:
        content = {"model": bad} if where == "model" else {"model": state, "args": bad}
        torch.save(content, path, _use_new_zipfile_serialization=where != "old format")
    with pytest.raises(UserError) as refused:
        read_checkpoint(path)
    message = str(refused.value)
    assert message.startswith(f"{path}: refused: its pickle ") and "nothing in it was run" in message
    assert function.__name__ in message or where == "bare pickle"
    assert "\n" not in message and not harm.exists()
    with contextlib.suppress(Exception):  # the file is a real attack: read without care, it makes the folder
        torch.load(path, weights_only=False)
    assert harm.exists()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-300])


@pytest.mark.parametrize(
    ("name", "make", "said"),
    [
        ("gone.pth", lambda path: None, "missing; name an existing"),
        ("page.pth", lambda path: path.write_text("\n<!DOCTYPE html><html>not found</html>"), "is a web page"),
        ("cut.pth", lambda path: (torch.save({"a": torch.zeros(99)}, path), cut(path)), "cut short, damaged"),
        ("cut.safetensors", lambda p: (safetensors.torch.save_file({"a": torch.zeros(99)}, p), cut(p)), "cut short"),
        ("empty.pth", lambda path: path.touch(), "cut short, damaged"),
        ("noise.pth", lambda path: path.write_bytes(np.random.default_rng(0).bytes(5000)), "cut short, damaged"),
        ("list.pth", lambda path: torch.save([torch.zeros(1)], path), "holds no state dict"),
        ("numbers.pth", lambda path: torch.save({"model": {"a": 1.0}}, path), "holds no state dict"),
        ("none.pth", lambda path: torch.save({"model": {}}, path), "holds no state dict"),
    ],
)
def test_unusable_files_are_named_in_one_line(
    tmp_path: Path, name: str, make: Callable[[Path], object], said: str
) -> None:
    make(tmp_path / name)
    with pytest.raises(UserError) as error:
        read_checkpoint(tmp_path / name)
    assert str(error.value).startswith(f"{tmp_path / name}: ") and said in str(error.value)
    assert "\n" not in str(error.value)
