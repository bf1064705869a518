"""The timings that a commit's tables show, in text."""

from __future__ import annotations

from typing import Any

import pandas as pd
from pydantic import ValidationError

from harness.base import paths
from harness.config.systems import System
from harness.records.schemas import TimedDevice
from harness.report.timing_frames import all_timings, condition_of, fairest
from harness.revisions.revision import Revision
from harness.throughput.rows import INTERVAL
from harness.throughput.verdict import in_words


def read_timings(revision: Revision) -> pd.DataFrame:
    """A row an architecture (backbone, convolution) of the systems in params.yaml: `throughput` in clips/s, the same
    with its interval as `rate`, the ratio to the baseline as `speed`, and what has to be the same for two timings to
    compare as `on`.

    Empty where the commit has none, or is of a version without systems. Raises UserError where a row is damaged.
    """
    rows, systems = [], _systems(revision.yaml("params.yaml"))
    with revision.errors_name_it():
        if systems and revision.files.read(paths.TIMED_DEVICE) is not None:
            device, timings = revision.files.json(paths.TIMED_DEVICE, TimedDevice).device, all_timings(revision.files)
            shown = fairest(timings[timings.device == device], systems)
            rows = [
                (row.backbone, row.convolution, row.throughput, _on(row), _rate(row), _speed(row))
                for _, row in shown.iterrows()
            ]
    return pd.DataFrame(rows, columns=["backbone", "convolution", "throughput", "on", "rate", "speed"])


def _systems(parameters: dict[str, Any]) -> dict[str, System]:
    try:
        return {name: System.model_validate(parameters["systems"][name]) for name in parameters["models"]}
    except (KeyError, TypeError, ValidationError):  # parameters of another version
        return {}


def _on(timing: pd.Series) -> str:
    return f"{timing.device} (threads: {timing.threads:g}), {condition_of(timing).words}"


def _rate(timing: pd.Series) -> str:
    """Three significant digits, one decimal from 100 on."""
    values = [float(timing[f"throughput{end}"]) for end in INTERVAL]
    median, low, high = (f"{one:.1f}" if one >= 100 else f"{one:#.3g}" for one in values)
    return f"{median} ({low} to {high})"


def _speed(timing: pd.Series) -> str | None:
    if pd.isna(timing.ratio_to_baseline):
        return None
    ratio, low, high = (float(timing[f"ratio_to_baseline{end}"]) for end in INTERVAL)
    noise = None if pd.isna(timing.no_difference_below) else float(timing.no_difference_below)
    return f"{ratio:.2f} ({low:.2f} to {high:.2f}) {in_words(ratio, low, high, noise)}"
