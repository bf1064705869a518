"""The evaluate stage: predictions of a trained model on the test clips, and metrics from them."""

from __future__ import annotations

import time

import torch

import dcls
from harness.audio.front_end import FrontEnd
from harness.base import paths
from harness.base.errors import UserError
from harness.base.files import sha256_of
from harness.config.params import Params
from harness.data.clips.clips import open_clips
from harness.evaluation.evaluation_files import kept_scores, write_evaluation
from harness.models.build import build_model
from harness.models.device import device_name, instruction_set
from harness.models.precision import exact_float32
from harness.records.provenance import (
    data_fingerprint,
    evaluation_parameters,
    fingerprint_of,
    provenance,
    write_log,
)
from harness.running.checkpoint import load_weights
from harness.running.processes import World, joined, use_threads
from harness.scoring.scores import score


def evaluate(params: Params, model_name: str, seed: int) -> None:
    """Score the last checkpoint on the test split, alone or under torchrun.

    Raises UserError where weights or packed clips are missing.
    """
    use_threads(params.execution.threads)
    with joined() as world:
        _evaluate(params, model_name, seed, world)


def _evaluate(params: Params, model_name: str, seed: int, world: World) -> None:
    started, device = time.perf_counter(), world.device
    exact_float32()
    dcls.use_convolution("rule")
    clips = open_clips(params, "test", seed=seed)
    weights = paths.run(params.preset, model_name, seed) / "model.safetensors"
    if not weights.is_file():
        raise UserError(f"{weights}: missing; run the train stage first")
    parameters = evaluation_parameters(params, model_name)
    record = provenance(
        "evaluation",
        parameters,
        data_fingerprint(params),
        device_name(device),
        instruction_set=instruction_set(device),
        model=model_name,
        seed=seed,
        weights_sha256=sha256_of(weights),
    )
    predictions = paths.predictions(params.preset, model_name, seed)
    # another number of resamples needs no inference: DVC leaves the predictions where they are (`persist`)
    made_from = fingerprint_of({**record, "parameters": {**parameters, "evaluate": None}})
    scores = kept_scores(predictions, made_from) if world.size == 1 else None
    if scores is None:
        model = build_model(params.systems[model_name].model, len(clips.labels))
        load_weights(weights, model)
        model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        scores = score(model, FrontEnd().to(device), clips, params.evaluate.batch, world)
    if not world.is_first:
        return
    result = paths.evaluation_results(params.preset, model_name, seed)
    metrics = write_evaluation(params, clips, scores, predictions, result, record, made_from)
    write_log(params.preset, f"{model_name}-{seed}.evaluation", time.perf_counter() - started)
    print(f"{model_name}-{seed}: test mAP {metrics['mAP']:.3f} ({metrics['mAP_low']:.3f} to {metrics['mAP_high']:.3f})")
