"""Trained weights, of a run or a file, as a model that is ready to score recordings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

import dcls
from harness.audio.front_end import FrontEnd
from harness.base import paths
from harness.base.errors import UserError
from harness.base.files import read_json
from harness.config.params import Params
from harness.data.clips.labels import read_labels
from harness.models.build import build_model
from harness.models.device import default_device
from harness.models.precision import exact_float32
from harness.records.description import Description, describe, read_description
from harness.running.checkpoint import load_weights

WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class Tagger:
    """A model in eval mode with its front end, and what its weights say of themselves."""

    model: nn.Module
    front_end: FrontEnd
    about: Description
    device: torch.device

    @torch.inference_mode()
    def __call__(self, waveforms: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (clips, classes) and embeddings (clips, features), float32 on the CPU, of waveforms (clips, samples).

        Scores are sigmoids of the logits, as `evaluate` computes them; an embedding is what enters the classifier.
        """
        log_mel = self.front_end(waveforms.to(self.device)).contiguous(memory_format=torch.channels_last)
        logits, embedding = logits_and_embedding(self.model, log_mel)
        return logits.sigmoid().float().cpu(), embedding.float().cpu()


def logits_and_embedding(model: nn.Module, log_mel: Tensor) -> tuple[Tensor, Tensor]:
    """(clips, classes), and what enters the classifier, (clips, features), of log-mels (clips, 1, 128, frames)."""
    features = model.forward_features(log_mel)  # type: ignore[operator]
    return model.forward_head(features), model.forward_head(features, pre_logits=True)  # type: ignore[operator]


def open_run(params: Params, name: str | None) -> tuple[nn.Module, Description]:
    """The model, on the CPU, of the run `name` (MODEL-SEED) of params.preset; None for the one best in validation.

    Raises UserError where there is no such run.
    """
    folder = paths.run(params.preset, "", 0).parent
    trained = sorted(path.parent.name for path in folder.glob(f"*/{WEIGHTS}"))
    if not trained:
        raise UserError(f"{folder}: no trained run; run `make repro` or `dvc pull`, or name a file with --weights")
    chosen = name or max(trained, key=lambda run: _val_map(params.preset, run))
    if chosen not in trained:
        raise UserError(f"--run: {chosen} is none of {folder}, which has {', '.join(trained)}")
    path = folder / chosen / WEIGHTS
    about = read_description(path)
    if about is None:  # trained before weights described themselves
        record = read_json(_results(params.preset, chosen) / "run.json")
        about = describe(record, read_labels(paths.packed(params.preset) / "labels.csv"))
    return _model(path, about), about


def open_file(path: Path) -> tuple[nn.Module, Description]:
    """The model, on the CPU, of a safetensors file that says what it is.

    Raises UserError where it is missing, damaged, or says nothing.
    """
    about = read_description(path)
    if about is None:
        raise UserError(f"{path}: does not say of which model and labels it is; export its run, then name that file")
    return _model(path, about), about


def tagger(model: nn.Module, about: Description) -> Tagger:
    """On the GPU where there is one; sets this process's switches, as `evaluate` does."""
    exact_float32()
    dcls.use_convolution("rule")
    device = default_device()
    model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Tagger(model, FrontEnd().to(device), about, device)


def run_of(results_name: str) -> tuple[str, int]:
    """`MODEL-SEED` as model and seed."""
    model, _, seed = results_name.rpartition("-")
    return model, int(seed)


def _model(path: Path, about: Description) -> nn.Module:
    model = build_model(about.model, len(about.labels))
    load_weights(path, model)
    return model.eval()


def _results(preset: str, run: str) -> Path:
    return paths.training_results(preset, *run_of(run))


def _val_map(preset: str, run: str) -> float:
    """In the last epoch; below all others where there is none, as in a run of imported weights."""
    try:
        return float((_results(preset, run) / "history.csv").read_text().splitlines()[-1].rpartition(",")[2])
    except (OSError, ValueError):
        return -1.0
