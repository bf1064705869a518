"""A loss that is not finite stops the run, leaves a dump, and can be replayed."""

from __future__ import annotations

import json

import safetensors.torch
import torch

from tests.training.conftest import Folder
from tests.training.processes import Nursery
from tests.training.test_processes import together

MODEL = "convnext_dcls_audio_tiny"
TRAIN = ["train", "--model", MODEL, "--seed", "0"]
STEEP = {  # weights grow a hundredfold a step
    f"systems__{MODEL}__schedule__learning_rate": 10.0,
    f"systems__{MODEL}__schedule__epochs": 200,
    "train__weight_decay": 10.0,
    "train__warmup_fraction": 0.0,
}


def test_it_stops_with_the_step_the_rate_and_the_clips(nursery: Nursery, new_folder: Folder) -> None:
    folder = new_folder("steep", **STEEP)
    said = nursery.run(folder, *TRAIN, status=2).splitlines()
    assert said[-1].startswith(f"error: {MODEL}-0: loss is ") and "Traceback" not in "".join(said)
    dump = json.loads((folder / f".cache/nonfinite/folder-{MODEL}-0/dump.json").read_text())
    assert f"lower systems.{MODEL}.schedule.learning_rate" in said[-1]
    assert f"epoch {dump['epoch']}, step {dump['step']}, learning rate {dump['learning_rate']:g}, clips " in said[-1]
    bad = [one for one in dump["micro_batches"] if one["loss"] in ("nan", "inf")]
    assert ", ".join(bad[0]["ids"]) in said[-1] and len(dump["micro_batches"]) == 4
    assert f"`python -m harness replay .cache/nonfinite/folder-{MODEL}-0`" in said[-1]
    assert not (folder / f"runs/folder/{MODEL}-0/model.safetensors").exists()

    replayed = nursery.run(folder, "replay", f".cache/nonfinite/folder-{MODEL}-0").splitlines()
    assert "not those of the dump" not in "".join(replayed)
    assert (
        replayed[0] == f"{MODEL}-0, epoch {dump['epoch']}, step {dump['step']}, learning rate {dump['learning_rate']:g}"
    )
    for one in dump["micro_batches"]:
        line = next(line for line in replayed if line.startswith(f"micro-batch {one['number']}: "))
        loss, was = line.split("loss ")[1].split(";")[0].split(", was ")
        assert loss == was == one["loss"] or abs(float(loss) / float(was) - 1) < 1e-4
    assert "  first value that is not finite: " in "\n".join(replayed)

    path = folder / f".cache/nonfinite/folder-{MODEL}-0/model.safetensors"
    weights = safetensors.torch.load_file(path)
    weights["stages.1.blocks.0.mlp.fc1.bias"][3] = torch.nan
    safetensors.torch.save_file(weights, path)
    replayed_again = nursery.run(folder, "replay", f".cache/nonfinite/folder-{MODEL}-0")
    assert "first value that is not finite: parameter stages.1.blocks.0.mlp.fc1.bias" in replayed_again

    said_missing = nursery.run(folder, "replay", "nowhere", status=2)
    assert said_missing.startswith("error: nowhere/dump.json: missing")


def test_all_processes_stop_and_one_says_why(nurseries: list[Nursery], new_folder: Folder) -> None:
    folder = new_folder("steep", **STEEP)
    said = together(nurseries, folder, 2, *TRAIN, status=2)
    assert said.count("error: ") == 1 and "Traceback" not in said
    assert (folder / f".cache/nonfinite/folder-{MODEL}-0/dump.json").exists()
