"""The timings that a commit's tables show, in text."""

from __future__ import annotations

import pandas as pd

from harness.base import paths
from harness.config.systems import System
from harness.records.schemas import TimedDevice
from harness.report.timing_frames import all_timings, by_model, condition_of, fairest
from harness.revisions.revision import Revision
from harness.throughput.rows import INTERVAL
from harness.throughput.verdict import in_words


def read_timings(revision: Revision) -> pd.DataFrame:
    """A row a system of params.yaml: `throughput` in clips/s, the same with its interval as
    `rate`, the ratio to the baseline as `speed`, and what has to be the same for two timings to compare as `on`.

    Empty where the commit has timed none so. Raises UserError where a row is damaged.
    """
    rows, systems = [], revision.yaml("params.yaml").get("systems")
    with revision.errors_name_it():
        if revision.files.read(paths.TIMED_DEVICE) is not None and isinstance(systems, dict):
            device = revision.files.json(paths.TIMED_DEVICE, TimedDevice).device
            rows = _shown(all_timings(revision.files), device, systems)
    return pd.DataFrame(rows, columns=["model", "throughput", "on", "rate", "speed"])


def _shown(timings: pd.DataFrame, device: str, systems: dict[str, object]) -> list[tuple[object, ...]]:
    try:
        models = {name: System.model_validate(one).model for name, one in systems.items()}
    except ValueError:  # parameters of another version
        return []
    shown = fairest(by_model(timings[timings.device == device], models))
    return [(row.model, row.throughput, _on(row), _rate(row), _speed(row)) for _, row in shown.iterrows()]


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
