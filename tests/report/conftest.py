"""A folder of result files as the stages write them: by their own writers, from made-up scores, times and positions."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from dcls import Dcls2d
from harness import evaluation, linear_baseline, paths, provenance, throughput
from harness.files import write_csv, write_json
from harness.params import Params
from harness.training import loop, positions

ROOT = Path(__file__).parent.parent.parent
CLIPS, CLASSES = 160, 10
REVISION = "0123456789abcdef0123456789abcdef01234567"
SKILL = {"convformer": 0.25, "fastvit": 0.6, "convnext": 0.35}  # how far positives stand out, in standard deviations
SECONDS = {"convformer": 0.5, "fastvit": 0.3, "convnext": 0.4}


@pytest.fixture(scope="session")
def report_params(params: Params) -> Params:
    """The default preset with three seeds."""
    return dataclasses.replace(
        params,
        seeds=(0, 1, 2),
        per_model={
            name: dataclasses.replace(one, epochs=8, depths=(1, 1, 3, 1), widths=(32, 64, 128, 256))
            for name, one in params.per_model.items()
        },
        evaluate=dataclasses.replace(params.evaluate, bootstrap=100),
    )


@pytest.fixture(scope="session")
def written(report_params: Params, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("written")
    with pytest.MonkeyPatch.context() as patch:
        write_results(report_params, root, patch)
    return root


@pytest.fixture
def workplace(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the result files that a test may change, as the current folder."""
    shutil.copytree(written, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    yield tmp_path


def write_results(params: Params, root: Path, patch: pytest.MonkeyPatch) -> None:
    """All that tables and figures read, under `root`."""
    patch.chdir(root)
    patch.setattr(provenance, "code_revision", lambda: {"revision": REVISION, "dirty": False})
    write_json(paths.HARDWARE, provenance.hardware())
    paths.PUBLISHED.parent.mkdir()
    shutil.copy(ROOT / paths.PUBLISHED, paths.PUBLISHED)
    random = np.random.default_rng(0)
    targets = (random.random((CLIPS, CLASSES)) < 0.15).astype(np.float32)
    for model in params.models:
        for seed in params.seeds:
            _write_run(params, model, seed, targets, random)
        _write_times(params, model, random, patch)
    _write_scores(params, targets, 0.5, random, paths.results(params.preset) / linear_baseline.NAME, _linear(params))


def _write_run(params: Params, model: str, seed: int, targets: np.ndarray, random: np.random.Generator) -> None:
    folder = paths.result(params.preset, model, seed)
    parameters = loop.stage_parameters(params, model)
    more: dict[str, Any] = {"model": model, "seed": seed}
    write_json(
        folder / "run.json",
        provenance.provenance(
            "training",
            parameters,
            "d" * 64,
            "cpu",
            **more,
            threads=2,
            classes=CLASSES,
            trained_parameters=1_234_567,
            seconds=12.3,
            resumed_at_epoch=0,
        ),
    )
    skill = SKILL[model.split("_")[0]] + (0.1 if "_dcls_" in model else 0.0) + 0.05 * random.standard_normal()
    _write_scores(
        params, targets, skill, random, folder, provenance.provenance("evaluation", parameters, "d" * 64, "cpu", **more)
    )
    epochs = range(1, params.per_model[model].epochs + 1)
    rows = [
        {
            "epoch": epoch,
            "learning_rate": 4e-3,
            "train_loss": 0.3 + 0.4 * np.exp(-epoch / 3) + 0.01 * random.standard_normal(),
            "val_mAP": 0.15 + skill * (1 - np.exp(-epoch / 3)) / 2 + 0.01 * random.standard_normal(),
            "samples_per_s": 50.0,
        }
        for epoch in epochs
    ]
    write_csv(folder / "history.csv", loop.HISTORY, rows)
    positions.write_positions(
        _walk(params, model, seed) if "_dcls_" in model else {},
        params.dcls,
        Path("positions.npz"),
        folder / "positions.csv",
        folder / "position_density.csv",
    )


def _write_scores(
    params: Params, targets: np.ndarray, skill: float, random: np.random.Generator, folder: Path, record: dict[str, Any]
) -> None:
    clips: Any = SimpleNamespace(
        ids=[str(n) for n in range(CLIPS)], targets=targets, labels=[f"class {n}" for n in range(CLASSES)]
    )
    scores = skill * targets + random.standard_normal(targets.shape).astype(np.float32)
    evaluation.write_evaluation(params, clips, scores, Path("predictions.npz"), folder, record)


def _linear(params: Params) -> dict[str, Any]:
    plain = provenance.as_plain(params)
    parameters = {"preset": params.preset, "data": plain["data"], "evaluate": plain["evaluate"]}
    return provenance.provenance("linear_baseline", parameters, "d" * 64, "cpu")


def _write_times(params: Params, model: str, random: np.random.Generator, patch: pytest.MonkeyPatch) -> None:
    """The throughput stage itself, with made-up seconds in place of full-size models."""
    patch.setattr(throughput, "_prepare", lambda name, classes, *_: nn.Linear(1000, classes))
    patch.setattr(throughput, "device_of", lambda: torch.device("cpu"))

    def alternate(variants: dict[tuple[str, int], nn.Module], *_: Any) -> dict[tuple[str, int], np.ndarray]:
        return {
            (name, classes): SECONDS[name.split("_")[0]]
            * (1.4 if "_dcls_" in name else 1.0)
            * random.uniform(0.9, 1.1, 10)
            for name, classes in variants
        }

    patch.setattr(throughput, "_alternate", alternate)
    throughput.throughput(params, model)


def _walk(params: Params, model: str, seed: int) -> dict[str, torch.Tensor]:
    """Snapshots of four DCLS layers whose positions drift outwards."""
    torch.manual_seed(seed)
    size = params.dcls.dilated_kernel_size
    layers = nn.ModuleDict(
        {
            f"stage{n}": Dcls2d(c, c, params.dcls.kernel_count, groups=c, dilated_kernel_size=size)
            for n, c in enumerate((32, 64, 128, 256))
        }
    )
    recorded = positions.snapshot(layers, 0)
    drift = [
        1.2 * torch.randn_like(layer.P) * torch.tensor([0.5, 1.0])[:, None, None, None] for layer in layers.values()
    ]
    last = params.per_model[model].epochs
    for epoch in range(1, last + 1):
        with torch.no_grad():
            for number, layer in enumerate(layers.values()):
                layer.P += drift[number] * (1 + 0.2 * number) / (1 + 0.3 * epoch)
                layer.clamp_parameters()
        if positions.recorded_at(epoch, last):
            recorded |= positions.snapshot(layers, epoch)
    return recorded
