"""The page's first chart: test mAP by system, as places in percent of an axis that begins at 0."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from harness.config.systems import LINEAR_BASELINE
from harness.report.decisions import seed_interval
from harness.report.figures.theme import of_methods
from harness.report.frames import Frames

STEP = 10  # percent of mAP between two numbers of the axis
QUIET = "var(--soft)"


def map_chart(frames: Frames) -> dict[str, Any]:
    """`groups` of rows (name, rows), a backbone each and last what the systems are held against; `lines` across all
    rows by name; `ticks` as (place, mAP in percent)."""
    palette = of_methods(frames)
    systems = {name: (frames.systems[name].method, palette[frames.systems[name].method]) for name in frames.models}
    groups: dict[str, list[tuple[str, str, pd.Series]]] = {}
    for name, (method, colour) in systems.items():
        groups.setdefault(frames.backbone(name), []).append((method, colour, frames.maps_of(name)))
    linear = frames.maps_of(LINEAR_BASELINE)
    against = [("logistic regression", QUIET, linear)] if len(linear) else []
    groups["for comparison"] = [*against, ("chance", QUIET, pd.Series([frames.chance]))]
    shown = [(name, [_row(*one) for one in rows]) for name, rows in groups.items()]
    highest = max(max(row["ends"][1], *row["seeds"]) for _, rows in shown for row in rows)
    most = min(100, STEP * math.ceil(highest / STEP))
    for row in (row for _, rows in shown for row in rows):
        low, high = (100 * max(0.0, min(most, one)) / most for one in row["ends"])
        places = {"left": low, "width": high - low, "at": 100 * row["mean"] / most}
        row |= {key: round(value, 2) for key, value in places.items()}
        row["seeds"] = [round(100 * one / most, 2) for one in row["seeds"]] if len(row["seeds"]) > 1 else []
    step = STEP if most <= 5 * STEP else 2 * STEP  # so that numbers do not meet on a phone
    ticks = [(round(100 * one / most, 2), one) for one in range(0, most + 1, step)]
    lines = {row["name"]: row["at"] for row in shown[-1][1]}
    return {"groups": shown, "lines": lines, "ticks": ticks}


def _row(name: str, colour: str, maps: pd.Series) -> dict[str, Any]:
    """In percent of mAP; of one seed there is no interval."""
    mean = float(maps.mean())
    ends = seed_interval(maps) if len(maps) > 1 else (mean, mean)
    return {"name": name, "colour": colour, "mean": mean, "ends": ends, "seeds": maps.tolist()}
