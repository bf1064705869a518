"""What the page shows beside tables and figures: a chart of mAP, a table of classes, ways of elements, clips.

Files are embedded as data URLs, so that the page needs nothing beside itself.
"""

from __future__ import annotations

import base64
import math
from pathlib import Path
from typing import Any

import pandas as pd

from harness.base import paths
from harness.base.errors import UserError
from harness.base.files import read_json
from harness.report.decisions import seed_interval
from harness.report.figures import theme
from harness.report.frames import Frames
from harness.report.geometry import maps_under
from harness.report.paper_tables.numbers import number, span
from harness.report.paper_tables.table import Table, View

MOST_FIGURE_BYTES = 1_600_000  # of all figures as text; those that do not fit are named
ELSEWHERE = "example_clips"  # which the page has as a section of its own, with sound
STEP = 10  # percent of mAP between two numbers of the chart's axis
QUIET = "var(--soft)"


def map_chart(frames: Frames) -> dict[str, Any]:
    """Test mAP by system, as places in percent of an axis that begins at 0: `groups` of rows (name, rows), a backbone
    each and last what the systems are held against; `lines` across all rows by name; `ticks` as (place, mAP)."""
    palette = theme.of_methods(frames)
    groups = {
        backbone: [_row(frames.method(name), palette[frames.method(name)], frames.maps_of(name)) for name in models]
        for backbone, models in frames.by_backbone.items()
    }
    groups["for comparison"] = [_row(name, QUIET, maps) for name, maps, _ in theme.held_against(frames)]
    rows = [row for some in groups.values() for row in some]
    most = min(100, STEP * math.ceil(max(max(row["ends"][1], *row["seeds"]) for row in rows) / STEP))
    for row in rows:
        low, high = (100 * max(0.0, min(most, one)) / most for one in row["ends"])
        places = {"left": low, "width": high - low, "at": 100 * row["mean"] / most}
        row |= {key: round(value, 2) for key, value in places.items()}
        row["seeds"] = [round(100 * one / most, 2) for one in row["seeds"]] if len(row["seeds"]) > 1 else []
    step = STEP if most <= 5 * STEP else 2 * STEP  # so that numbers do not meet on a phone
    ticks = [(round(100 * one / most, 2), one) for one in range(0, most + 1, step)]
    lines = {row["name"]: row["at"] for row in groups["for comparison"]}
    return {"groups": list(groups.items()), "lines": lines, "ticks": ticks}


def _row(name: str, colour: str, maps: pd.Series) -> dict[str, Any]:
    """In percent of mAP; of one seed there is no interval."""
    mean = float(maps.mean())
    ends = seed_interval(maps) if len(maps) > 1 else (mean, mean)
    return {"name": name, "colour": colour, "mean": mean, "ends": ends, "seeds": maps.tolist()}


def class_view(frames: Frames, classes: Table) -> View:
    """From the table `per_class`, all backbones side by side, a row a class: AP in percent of each model, the main
    one's difference to its baseline."""
    header, compared = ["class", "positives"], {model for model, _ in frames.headline_pairs}
    for model in frames.models:
        name = frames.backbone(model)
        header.append(f"{name} {frames.method(model)}")
        header += [f"{name} difference", f"{name} 95% interval"] if model in compared else []
    rows = []
    for row in classes.frame.to_dict("records"):
        cells = [str(row["label"]), number(row["positives"], "d")]
        for model in frames.models:
            cells.append(number(row[f"{model}_AP"], ".2f"))
            if model in compared:
                cells.append(number(row[f"{model}_difference"], "+.2f"))
                cells.append(span(row[f"{model}_low"], row[f"{model}_high"], sign="+"))
        rows.append(tuple(cells))
    return View("Average precision by class, in percent", tuple(header), tuple(rows))


def sampled_positions(frames: Frames) -> list[dict[str, Any]]:
    """A run each: its name, the cells along a side of its kernels, the recorded epochs, and by stage the offsets from
    the kernel's centre, along frequency and along time, [epoch][element].

    Of DCLS systems whose spacings are learned: of the main ones each seed, of others the first. Elements that lack an
    epoch are left out.
    """
    found: list[dict[str, Any]] = []
    for (model, seed), run in frames.trajectories.groupby(["model", "seed"], sort=False):
        shown = model in frames.main.values() or seed == frames.seeds[0]
        if not shown or not frames.learns_spacings(model):
            continue
        inside, stages = maps_under(frames, model), []
        for stage, elements in run.groupby("stage"):
            places = elements.pivot(index="epoch", columns="element", values=["row", "column"]).dropna(axis=1).round(2)
            along = {"frequency": places.row.to_numpy().tolist(), "time": places.column.to_numpy().tolist()}
            stages.append({"stage": stage, "map": inside[stage], **along})
        name = f"{frames.backbone(model)}, {frames.method(model)}, seed {seed}"
        epochs = sorted(run.epoch.unique().tolist())
        found.append({"name": name, "side": frames.kernel_size(model), "epochs": epochs, "stages": stages})
    return found


def embedded_figures(frames: Frames) -> list[dict[str, Any]]:
    """What the figures stage drew, in its order, with the picture as `source`; None where MOST_FIGURE_BYTES are full.

    Raises UserError where a file is missing.
    """
    folder, left, found = paths.results(frames.preset) / "figures", MOST_FIGURE_BYTES, []
    for figure in read_json(folder / "figures.json"):
        if figure["name"] != ELSEWHERE:
            source = _data_url(folder / f"{figure['name']}.png", "image/png", "figures")
            fits = len(source) <= left
            left -= len(source) if fits else 0
            found.append(figure | {"source": source if fits else None})
    return found


def embedded_clips(frames: Frames) -> list[dict[str, Any]]:
    """The example clips, `audio` as a data URL or None, `predictions` as pairs in the order of the models.

    Raises UserError where examples.json is malformed, or a sound file is missing.
    """
    folder, found = paths.results(frames.preset) / "examples", []
    for clip in frames.examples:
        audio = _data_url(folder / clip.audio, "audio/flac", "examples") if clip.audio else None
        predictions = [(model, clip.predictions[model]) for model in frames.models if model in clip.predictions]
        found.append(clip.model_dump() | {"audio": audio, "predictions": predictions})
    return found


def _data_url(path: Path, kind: str, stage: str) -> str:
    try:
        return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); run `{stage}` again") from error
