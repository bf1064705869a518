"""The trivial baseline: logistic regression on log-mel statistics of the same clips."""

from __future__ import annotations

import time

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from harness.audio.front_end import FrontEnd
from harness.base import paths
from harness.config.params import Params
from harness.config.systems import LINEAR_BASELINE
from harness.data.clips.clips import Clips, open_clips
from harness.evaluation.evaluation_files import write_evaluation
from harness.models.device import instruction_set
from harness.records.provenance import as_plain, data_fingerprint, data_parameters, provenance, write_log
from harness.running.processes import use_threads
from harness.scoring.metrics import mean_average_precision
from harness.scoring.scores import read_batch

INVERSE_PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # the best on validation is used


def linear_baseline(params: Params, seed: int) -> None:
    """Fit on the training clips of one epoch, choose the penalty on validation, score the test clips.

    The seed picks what it picks in training: the epoch whose mixtures are drawn (`instruments`), the folds (`esc10`).
    """
    use_threads(params.execution.threads)
    started = time.perf_counter()
    train, val, test = (open_clips(params, split, epoch=seed, seed=seed) for split in ("train", "val", "test"))
    train_features, val_features, test_features = (statistics(clips) for clips in (train, val, test))
    fitted = []
    for inverse_penalty in INVERSE_PENALTIES:
        regression = OneVsRestClassifier(LogisticRegression(C=inverse_penalty, max_iter=1000))
        with threadpool_limits(1):  # the products are so small that a second thread only waits: up to 10 times slower
            model = make_pipeline(StandardScaler(), regression).fit(train_features, train.targets)
        fitted.append((mean_average_precision(val.targets, model.predict_proba(val_features)), inverse_penalty, model))
    val_map, inverse_penalty, model = max(fitted, key=lambda one: one[0])
    scores = model.predict_proba(test_features)
    record = provenance(
        "linear_baseline",
        {"preset": params.preset, "data": data_parameters(params), "evaluate": as_plain(params.evaluate)},
        data_fingerprint(params),
        "cpu",
        model=LINEAR_BASELINE,
        seed=seed,
        train_clips=len(train),
        inverse_penalty=inverse_penalty,
        val_mAP=val_map,
        instruction_set=instruction_set(torch.device("cpu")),
    )
    predictions = paths.predictions(params.preset, LINEAR_BASELINE, seed)
    result = paths.evaluation_results(params.preset, LINEAR_BASELINE, seed)
    metrics = write_evaluation(params, test, scores, predictions, result, record)
    write_log(params.preset, f"{LINEAR_BASELINE}-{seed}", time.perf_counter() - started)
    print(
        f"{LINEAR_BASELINE}-{seed}: test mAP {metrics['mAP']:.3f} "
        f"({metrics['mAP_low']:.3f} to {metrics['mAP_high']:.3f})"
    )


@torch.inference_mode()
def statistics(clips: Clips, batch: int = 32) -> np.ndarray:
    """Mean and standard deviation over time of each standardized log-mel band, float64 (clips, 256)."""
    front_end, features = FrontEnd(), []
    for start in range(0, len(clips), batch):
        log_mel = front_end(read_batch(clips, range(start, min(start + batch, len(clips)))))[:, 0]
        features.append(torch.cat([log_mel.mean(-1), log_mel.std(-1)], dim=1).double().numpy())
    return np.concatenate(features)
