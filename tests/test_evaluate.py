"""The evaluate stage on a run that was really trained, for an epoch."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest

from harness.base import paths
from harness.config.params import Params
from harness.evaluation import evaluate as stage
from harness.evaluation.evaluate import evaluate
from tests.predicting.conftest import NAMES, featurized, trained

__all__ = ["featurized", "trained"]


def test_another_bootstrap_needs_no_inference(trained: tuple[Path, Params], monkeypatch: pytest.MonkeyPatch) -> None:
    folder, params = trained
    more = params.model_copy(update={"evaluate": params.evaluate.model_copy(update={"bootstrap": 40})})

    def score_again(*_: object) -> None:
        raise AssertionError("the model ran again")

    with contextlib.chdir(folder):
        predictions = paths.predictions(params.preset, NAMES[0], 0)
        metrics = paths.evaluation_results(params.preset, NAMES[0], 0) / "metrics.json"
        before, scores = json.loads(metrics.read_text()), predictions.read_bytes()
        monkeypatch.setattr(stage, "score", score_again)
        evaluate(more, NAMES[0], 0)
        after = json.loads(metrics.read_text())
        assert predictions.read_bytes() == scores and after["mAP"] == before["mAP"]
        assert (after["mAP_low"], after["mAP_high"]) != (before["mAP_low"], before["mAP_high"])
        record = json.loads(metrics.with_name("evaluation.json").read_text())
        assert record["parameters"]["evaluate"] == {"bootstrap": 40}

        weights = paths.run(params.preset, NAMES[0], 0) / "model.safetensors"
        kept = weights.read_bytes()
        for path, content in ((weights, kept[:-1] + bytes([kept[-1] ^ 1])), (predictions, scores[: len(scores) // 2])):
            path.write_bytes(content)
            with pytest.raises(AssertionError, match="the model ran again"):
                evaluate(params, NAMES[0], 0)
            weights.write_bytes(kept)
        monkeypatch.undo()
        evaluate(params, NAMES[0], 0)
        assert json.loads(metrics.read_text()) == before and predictions.read_bytes() == scores
