"""A folder of result files as the stages write them: by their own writers, from made-up scores, times and positions."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from torch import nn

from dcls import Dcls2d
from harness.base import paths
from harness.base.files import write_csv, write_json
from harness.comparison import examples
from harness.comparison import paired as comparison
from harness.config.params import Params, load
from harness.config.systems import LINEAR_BASELINE, PAPER, Dcls, System
from harness.evaluation import evaluation_files
from harness.models.build import full_size
from harness.records import provenance
from harness.records.schemas import HISTORY, SCHEMA_VERSION, DataSummary, checked
from harness.report.figures import theme
from harness.report.tables import tables
from harness.throughput import rows
from harness.throughput.device import timings_file
from harness.training import positions
from tests.made_up_timings import COUNTS, write_timings

ROOT = Path(__file__).parent.parent.parent
CLIPS, CLASSES = 160, 10
TABLE = Path("paper_tables/instruments/table1")
RESULTS = paths.results("instruments")
DCLS, BASELINE = "convnext_dcls_audio_tiny", "convnext_audio_tiny"
REVISION = "0123456789abcdef0123456789abcdef01234567"
SKILL = {"convformer": 0.25, "fastvit": 0.6, "convnext": 0.35}  # how far positives stand out, in standard deviations


@pytest.fixture(scope="session")
def report_params(params: Params) -> Params:
    """The default preset with three seeds."""
    return params.model_copy(
        update={
            "seeds": (0, 1, 2),
            "linear_baseline_seeds": (0, 1, 2),
            "systems": {name: _resized(one, 8) for name, one in params.systems.items()},
            "evaluate": params.evaluate.model_copy(update={"bootstrap": 100}),
        }
    )


def _resized(system: System, epochs: int) -> System:
    """With sizes and epochs of its own, that reports have to tell."""
    sizes = {"depths": (1, 1, 3, 1), "widths": (32, 64, 128, 256)}
    schedule = system.schedule.model_copy(update={"epochs": epochs})
    return system.model_copy(update={"model": system.model.model_copy(update=sizes), "schedule": schedule})


@pytest.fixture(scope="session")
def study_params() -> Params:
    """Of the committed preset `study` all systems of ConvNeXt, with fixed spacings, two starts and a dense kernel, and
    two of FastViT."""
    params = load(ROOT / "presets" / "study.yaml")
    models = [name for name in params.models if name.startswith("convnext")]
    few = {"models": (*models, "fastvit_audio_sa24", "fastvit_dcls_spread"), "seeds": (0, 1, 2)}
    few |= {"linear_baseline_seeds": (0,), "evaluate": params.evaluate.model_copy(update={"bootstrap": 100})}
    return params.model_copy(update=few)


@pytest.fixture(scope="session")
def written_study(study_params: Params, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        write_results(study_params, root, patch)
    return root


@pytest.fixture
def study(written_study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Made-up results of the study, as the current folder."""
    shutil.copytree(written_study, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


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


@pytest.fixture
def made(workplace: Path, report_params: Params) -> Path:
    """With the tables."""
    tables(report_params)
    return workplace


@pytest.fixture
def unsaved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are made and not written, which takes most of the time."""

    def made(_: Path, draw: Callable[[], object], *__: object) -> bool:
        figure = draw()
        plt.close("all")
        return bool(figure)

    monkeypatch.setattr(theme, "save", made)


@pytest.fixture(scope="session")
def fold_params(report_params: Params) -> Params:
    """Preset esc10 with the five seeds that test on its five folds."""
    data = report_params.data.model_copy(update={"kind": "esc10", "clip_seconds": 5.0})
    return report_params.model_copy(
        update={"preset": "esc10", "seeds": (0, 1, 2, 3, 4), "linear_baseline_seeds": (0, 1, 2, 3, 4), "data": data}
    )


@pytest.fixture(scope="session")
def written_folds(fold_params: Params, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("folds")
    with pytest.MonkeyPatch.context() as patch:
        write_results(fold_params, root, patch)
    return root


@pytest.fixture
def folds(written_folds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The same of preset esc10."""
    shutil.copytree(written_folds, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    yield tmp_path


def write_results(params: Params, root: Path, patch: pytest.MonkeyPatch) -> None:
    """All that tables and figures read, under `root`."""
    patch.chdir(root)
    patch.setattr(provenance, "code_revision", lambda: {"revision": REVISION, "dirty": False})
    write_timings(params, patch)
    paths.PUBLISHED.parent.mkdir()
    for name in ("published.csv", "reference_points.csv"):
        shutil.copy(ROOT / paths.PUBLISHED.with_name(name), paths.PUBLISHED.with_name(name))
    summary = {"preset": params.preset, "kind": params.data.kind, "classes": CLASSES, "fingerprint": "d" * 64}
    summary |= {"schema_version": SCHEMA_VERSION, "rows": CLIPS, "statuses": {"ok": CLIPS}}
    summary |= {"clips": {"test": CLIPS}, "seconds": {"test": float(CLIPS)}}
    write_json(paths.results(params.preset) / "data.json", checked(DataSummary, summary))
    random = np.random.default_rng(0)
    for model in params.models:
        for seed in params.seeds:
            _write_run(params, model, seed, random)
    _write_parameters(params)
    parameters = provenance.stage_parameters(params, params.models[0])
    del parameters["model"], parameters["schedule"], parameters["train"]
    for seed in params.linear_baseline_seeds:
        record = provenance.provenance(
            "linear_baseline",
            parameters,
            "d" * 64,
            "cpu",
            model=LINEAR_BASELINE,
            seed=seed,
            train_clips=512,
            inverse_penalty=0.1,
            val_mAP=0.4,
        )
        write_scores(params, LINEAR_BASELINE, seed, 0.5, random, record)
    comparison.compare(params)
    _write_examples(params, patch)


def _write_run(params: Params, model: str, seed: int, random: np.random.Generator) -> None:
    folder = paths.training_results(params.preset, model, seed)
    parameters = provenance.stage_parameters(params, model)
    more: dict[str, Any] = {"model": model, "seed": seed}
    write_json(
        folder / "run.json",
        provenance.provenance(
            "training",
            parameters,
            "d" * 64,
            "cpu",
            **more,
            start={"start": "random"},
            processes=1,
            threads=2,
            classes=CLASSES,
            trained_parameters=1_234_567,
            convolutions="rule",
        ),
    )
    system = params.systems[model]
    reach = 0.1 if system.is_dcls or system.model.kernel_size > 7 else 0.0
    skill = SKILL[system.model.backbone] + reach + 0.05 * random.standard_normal()
    record = provenance.provenance("evaluation", parameters, "d" * 64, "cpu", **more)
    write_scores(params, model, seed, skill, random, record)
    epochs = range(1, system.schedule.epochs + 1)
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
    write_csv(folder / "history.csv", HISTORY, rows)
    positions.write_positions(
        _walk(system.model.dcls, system.schedule.epochs, seed) if system.model.dcls else {},
        system.model.dcls,
        Path("positions.npz"),
        folder,
    )


def write_scores(
    params: Params, model: str, seed: int, skill: float, random: np.random.Generator, record: dict[str, Any]
) -> None:
    """The predictions of a run, scored by the evaluation itself: `skill` is how far positives stand out."""
    fold = seed % 5 if params.data.kind == "esc10" else 0
    count = CLIPS // 5 if params.data.kind == "esc10" else CLIPS
    targets = (np.random.default_rng(100 + fold).random((count, CLASSES)) < 0.15).astype(np.float32)
    targets[0] = 1 - targets[1]  # every class has a positive and a negative
    clips: Any = SimpleNamespace(
        ids=[f"{fold}-{n}" for n in range(count)], targets=targets, labels=[f"class {n}" for n in range(CLASSES)]
    )
    scores = skill * targets + random.standard_normal(targets.shape).astype(np.float32)
    predictions, folder = (
        paths.predictions(params.preset, model, seed),
        paths.evaluation_results(params.preset, model, seed),
    )
    evaluation_files.write_evaluation(params, clips, scores, predictions, folder, record)


def _write_examples(params: Params, patch: pytest.MonkeyPatch) -> None:
    """The examples stage itself, on noise in place of the clips that were scored."""
    with np.load(paths.predictions(params.preset, params.models[0], params.seeds[0])) as file:
        ids, labels = file["ids"].tolist(), file["labels"].tolist()
    sounds = [np.random.default_rng(n).uniform(-0.1, 0.1, 40960).astype(np.float32) for n in range(len(ids))]
    clips: Any = SimpleNamespace(ids=ids, labels=labels, waveform=sounds.__getitem__)
    patch.setattr(examples, "open_clips", lambda *_, **__: clips)
    patch.setattr(examples, "data_fingerprint", lambda _: "d" * 64)
    examples.examples(params)


def _write_parameters(params: Params) -> None:
    """Counts that fit the made-up timings': all but the head in the backbone."""
    folder, features = paths.results(params.preset), 2113
    classes = {}
    for count, total in COUNTS.parameters.items():
        classes[str(count)] = {"head": (features + 1) * count, "total": total}
    rest = {"kernels": 0, "positions": 0, "spreads": 0, "features": features, "classes": classes}
    (backbone,) = {one["total"] - one["head"] for one in classes.values()}
    models = {
        model: rest | {"backbone": backbone, "convolution": params.systems[model].model.convolution}
        for model in params.models
    }
    write_json(folder / "parameters.json", {"models": models})
    record = provenance.provenance(
        "parameters",
        {model: provenance.as_plain(full_size(params.systems[model].model)) for model in params.models},
        "none",
        "meta",
        models=list(params.models),
        scale="full",
    )
    write_json(folder / "parameters.run.json", record)


def _walk(dcls: Dcls, last: int, seed: int) -> dict[str, torch.Tensor]:
    """Snapshots of four DCLS layers whose positions drift outwards, where they may, and less at late stages."""
    torch.manual_seed(seed)
    size, count = dcls.dilated_kernel_size, dcls.kernel_count
    layers = nn.ModuleDict(
        {
            f"stage{n}": Dcls2d(c, c, count, groups=c, dilated_kernel_size=size)
            for n, c in enumerate((32, 64, 128, 256), 1)
        }
    )
    with torch.no_grad():
        for layer in layers.values():
            layer.P.mul_(dcls.position_std / 0.5)
            layer.clamp_parameters()
    recorded = positions.snapshot(layers, 0)
    scale = 0.25 * dcls.position_rate * torch.tensor([0.5, 1.0])[:, None, None, None]
    drift = [scale * torch.randn_like(layer.P) for layer in layers.values()]
    for epoch in range(1, last + 1):
        with torch.no_grad():
            for number, layer in enumerate(layers.values()):
                layer.P += drift[number] / ((1 + number) * (1 + 0.3 * epoch))
                layer.clamp_parameters()
                if dcls.position_rate:
                    layer.P.grad = 1e-3 * torch.randn_like(layer.P) / (number + epoch)
        if positions.recorded_at(epoch, last):
            recorded |= positions.snapshot(layers, epoch)
    return recorded


def timed_file() -> Path:
    """Of the device whose timings the tables show."""
    return timings_file(json.loads(paths.TIMED_DEVICE.read_text())["device"])


def edit_timings(change: Callable[[dict[str, str]], None]) -> None:
    """Let `change` loose on every row of this machine's timings."""
    found = rows.read(timed_file())
    for row in found:
        change(row)
    rows.upsert(timed_file(), found)


def is_timing_of(row: dict[str, str], model: str) -> bool:
    """Of one of the paper's six."""
    backbone, baseline = PAPER[model]
    return row["backbone"] == backbone and row["convolution"].startswith("DCLS") == bool(baseline)


def timing_of(model: str) -> dict[str, str]:
    """The row of results/throughput that the tables take: inference at the largest batch."""
    found = [row for row in rows.read(timed_file()) if is_timing_of(row, model) and row["mode"] == "inference"]
    return max(found, key=lambda row: int(row["batch"]))


def folder_of(model: str, seed: int) -> Path:
    return paths.run_results("instruments", model, seed)


def rows_of_table() -> dict[str, dict[str, str]]:
    """table1.csv by model."""
    with open(TABLE.with_suffix(".csv"), newline="") as file:
        return {row["model"]: row for row in csv.DictReader(file)}


def pair_of(comparison: dict[str, Any], model: str) -> dict[str, Any]:
    """Of comparison.json, the first of this model: to its baseline."""
    found: dict[str, Any] = next(pair for pair in comparison["pairs"] if pair["model"] == model)
    return found


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a JSON file in place."""
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))
