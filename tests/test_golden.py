"""The losses of the first 20 steps of each tiny model, as committed: what an unmeant change of the training moves.

A deliberate change writes them anew, in the commit that says why: `make golden-update`.
"""

from __future__ import annotations

import json
import os
import platform

import numpy as np
import pytest
import torch

from harness.base.files import write_text
from harness.config.params import Params
from harness.data.clips.clips import PackedClips
from harness.data.clips.manifest import Row
from harness.running.processes import World
from harness.training import batches, reading, recipe
from harness.training.run import new_run
from harness.training.step import optimizer_step
from tests.conftest import DATA, MODELS, SYSTEMS

GOLDEN, STEPS, SAMPLES, SEED = DATA / "golden.json", 20, 41_600, 0
# Relative, on the losses. The processor that wrote them repeats them to rounding; others sum in another order, and
# twenty steps of a steep rate make more of that.
TOLERANCE = 2e-3 if platform.machine() == "x86_64" else 1e-2


def clips() -> PackedClips:
    """80 clips of one or two decaying tones, three classes."""
    random, time = np.random.default_rng(7), np.arange(SAMPLES) / 32_000
    sounds, rows = [], []
    for index in range(80):
        chosen = sorted(random.choice(3, 1 + index % 2, replace=False))
        sound = 0.01 * random.standard_normal(SAMPLES)
        for column in chosen:
            sound += 0.2 * np.exp(-2 * time) * np.sin(2 * np.pi * 200 * 4.0**column * random.uniform(1, 2) * time)
        sounds.append(np.rint(sound * 32_767).clip(-32_768, 32_767).astype(np.int16))
        labels = ";".join("abc"[column] for column in chosen)
        rows.append(Row(f"c{index}", "train", labels, "", shard=0, offset=index * SAMPLES, samples=SAMPLES))
    return PackedClips(["A", "B", "C"], ["a", "b", "c"], rows, {0: np.concatenate(sounds)}, SAMPLES)


def losses_of(params: Params, name: str) -> list[float]:
    """Mean loss of each of the first steps, in one thread, from the paper's start: 4 clips in two micro-batches."""
    system = params.systems[name]
    model = system.model.model_copy(
        update={"depths": (1, 1, 1, 1), "widths": (16, 16, 32, 32), "dcls": SYSTEMS[name].model.dcls}
    )
    schedule = system.schedule.model_copy(update={"epochs": 2})
    train = params.train.model_copy(update={"batch": 4, "micro_batch": 2})
    system = system.model_copy(update={"model": model, "schedule": schedule})
    params = params.model_copy(update={"train": train, "systems": {name: system}})
    packed = clips()
    run, _ = new_run(params, name, SEED, 3, World(0, 1, torch.device("cpu")))
    run.trainee.model.train()
    division = batches.divide(train, len(packed))
    order, numbers = batches.epoch_order(SEED, 0, len(packed)), batches.numbers_of(division, 0, 0)
    raw_batches = reading.read(packed, order, division.micro_batch, numbers, 0)
    rates = recipe.learning_rates(schedule.learning_rate, train.final_learning_rate, 2, 0.25, division.steps)
    steps = (optimizer_step(run, raw_batches, division, 0, float(rates[step]), False) for step in range(STEPS))
    return [float(np.mean(losses)) for losses, _ in steps]


@pytest.mark.parametrize("name", MODELS)
def test_the_first_steps_lose_what_they_did(params: Params, name: str) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        found = losses_of(params, name)
    finally:
        torch.set_num_threads(threads)
    golden = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    if os.environ.get("UPDATE_GOLDEN"):
        golden[name] = found
        write_text(GOLDEN, json.dumps(golden, indent=1) + "\n")
    assert len(golden[name]) == STEPS
    np.testing.assert_allclose(found, golden[name], rtol=TOLERANCE)
