"""The throughput stage itself, with made-up seconds in place of full-size models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch

from harness.base import paths
from harness.base.files import write_json
from harness.config.params import Params
from harness.counting.operations import Counts
from harness.records import provenance
from harness.throughput import breakdown, pair, sweep

SECONDS = {"convformer": 0.5, "fastvit": 0.3, "convnext": 0.4}  # of a clip, DCLS 1.4 times that
COUNTS = Counts({527: 25_000_000, 1000: 25_000_000 + 473 * 2114}, 5_000_000_000, 0)
PARTS = {"stem": 1.0, "depthwise": 20.0, "pointwise": 60.0, "attention": 4.0, "rest": 15.0}


def write_timings(params: Params, patch: pytest.MonkeyPatch) -> None:
    """runs/hardware.json and results/throughput of this machine's CPU, in the current folder."""
    random = np.random.default_rng(0)

    def take_turns(steps: Mapping[str, Any], *_: Any) -> tuple[dict[str, np.ndarray], dict[str, str]]:
        slower = {name: 1.4 if model.dcls else 1.0 for name, model in steps.items()}
        taken = {
            name: SECONDS[model.backbone] * slower[name] * random.uniform(0.95, 1.05, 10)
            for name, model in steps.items()
        }
        return taken, {}

    patch.setattr(pair, "_warm", lambda model, *_: pair.Warm(model, "", None, []))  # its step only says which it is
    patch.setattr(pair, "take_turns", take_turns)
    patch.setattr(pair, "counts", lambda *_: COUNTS)
    patch.setattr(breakdown.contenders, "prepare", lambda *_: object())
    patch.setattr(breakdown, "milliseconds", lambda *_: PARTS)
    patch.setattr("harness.throughput.machine.default_device", lambda: torch.device("cpu"))
    write_json(paths.HARDWARE, provenance.hardware())
    sweep.throughput(params, every=False)
