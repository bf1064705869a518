"""The files of an evaluation, of whatever model: what it predicted, and how good that is."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from harness.base.files import write_atomic, write_csv, write_json
from harness.config.params import Params
from harness.data.clips.clips import Clips
from harness.evaluation.calibration import calibration, calibration_error
from harness.records.schemas import CALIBRATION, PER_CLASS, Metrics, checked
from harness.scoring.metrics import summarize


def write_evaluation(
    params: Params,
    clips: Clips,
    scores: np.ndarray,
    predictions: Path,
    result: Path,
    record: dict[str, Any],
    made_from: str = "",
) -> dict[str, Any]:
    """Predictions, then metrics.json (numbers only: same run, same bytes), per_class.csv, calibration.csv and, last,
    evaluation.json. `made_from` is a fingerprint of all that the scores depend on, for `kept_scores`."""
    ids, labels, made_of = np.array(clips.ids), np.array(clips.labels), np.array(made_from)
    write_atomic(
        predictions,
        lambda file: np.savez_compressed(
            file, ids=ids, targets=clips.targets, scores=scores, labels=labels, made_from=made_of
        ),
    )
    metrics, rows = summarize(clips.targets, scores, clips.labels, params.evaluate.bootstrap)
    bins = calibration(clips.targets, scores)
    metrics["expected_calibration_error"] = calibration_error(bins)
    write_json(result / "metrics.json", checked(Metrics, metrics))
    write_csv(result / "per_class.csv", PER_CLASS, rows)
    write_csv(result / "calibration.csv", CALIBRATION, bins)
    write_json(result / "evaluation.json", record)
    return metrics


def kept_scores(predictions: Path, made_from: str) -> np.ndarray | None:
    """The scores of a file that `write_evaluation` wrote, if they are made from just this; else None."""
    try:
        with np.load(predictions) as file:
            scores: np.ndarray = file["scores"]
            return scores if str(file["made_from"]) == made_from else None
    except (OSError, KeyError, ValueError, BadZipFile):
        return None
