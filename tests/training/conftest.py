"""A small packed data set, and processes that train on it."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import yaml

from harness.config.params import load
from harness.data.featurize import featurize
from harness.data.fetching.fetch import fetch
from tests.conftest import ROOT, unshared
from tests.training.processes import Nursery

RATE, CLASSES, CLIPS = 32_000, ("low", "middle", "high"), 48
Folder = Callable[..., Path]


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    nursery = Nursery()
    yield nursery
    nursery.close()


@pytest.fixture(scope="session")
def nurseries(nursery: Nursery) -> Iterator[list[Nursery]]:
    """Four, for processes that run side by side."""
    more = [Nursery() for _ in range(3)]
    yield [nursery, *more]
    for one in more:
        one.close()


def write_sounds(folder: Path) -> None:
    """Wav files of one or two struck strings in noise, a class an octave, and their CSV: 24 train, 12 val, 12 test."""
    random, time = np.random.default_rng(0), np.arange(round(1.4 * RATE)) / RATE
    (folder / "sounds").mkdir()
    rows = ["path,labels,split"]
    for index in range(CLIPS):
        chosen = random.choice(len(CLASSES), 1 + index % 2, replace=False)
        sound = 0.01 * random.standard_normal(time.size)
        for column in chosen:
            pitch = 110 * 4.0**column * random.uniform(1, 2)
            decay = np.exp(-time * random.uniform(1, 4))
            sound += 0.1 * decay * sum(np.sin(2 * np.pi * pitch * k * time) / k for k in range(1, 6))
        soundfile.write(folder / "sounds" / f"{index}.wav", np.roll(sound, random.integers(RATE // 2)), RATE)
        split = "train" if index % 4 < 2 else "val" if index % 4 == 2 else "test"
        rows.append(f'sounds/{index}.wav,"{";".join(CLASSES[column] for column in chosen)}",{split}')
    (folder / "clips.csv").write_text("\n".join(rows) + "\n")
    (folder / "labels.csv").write_text("display_name\n" + "\n".join(CLASSES) + "\n")


def tiny(changes: dict[str, Any]) -> dict[str, Any]:
    """Preset folder with tiny models: two steps an epoch, four micro-batches a step. `changes` by dotted key."""
    params: dict[str, Any] = unshared(yaml.safe_load((ROOT / "presets" / "folder.yaml").read_text()))
    params |= {"seeds": [0], "linear_baseline_seeds": []}
    params["data"] |= {"csv": "clips.csv", "label_list": "labels.csv", "clip_seconds": 1.3}
    params["train"] |= {"batch": 12, "micro_batch": 3}
    params["evaluate"] = {"batch": 5, "bootstrap": 20}
    for system in params["systems"].values():
        system["model"] |= {"depths": [1, 1, 1, 1], "widths": [16, 16, 32, 32], "drop_path": 0.2}
        system["schedule"] = system["schedule"] | {"epochs": 3}
    for key, value in changes.items():
        section = params
        *path, last = key.split(".")
        for name in path:
            section = section.setdefault(name, {})
        section[last] = value
    return params


@pytest.fixture(scope="session")
def featurized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("featurized")
    write_sounds(folder)
    (folder / "params.yaml").write_text(yaml.safe_dump(tiny({})))
    with contextlib.chdir(folder):
        params = load(Path("params.yaml"))
        fetch(params)
        featurize(params)
    return folder


def folder_with(featurized: Path, folder: Path, **changes: Any) -> Path:
    """A new folder with the packed clips and these changes to the parameters, dots of whose keys are `__`."""
    shutil.copytree(featurized / "data", folder / "data")
    params = tiny({key.replace("__", "."): value for key, value in changes.items()})
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    return folder


@pytest.fixture
def new_folder(featurized: Path, tmp_path: Path) -> Folder:
    """`folder_with` by name."""
    return lambda name, **changes: folder_with(featurized, tmp_path / name, **changes)
