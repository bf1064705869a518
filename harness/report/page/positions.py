"""Where sampled kernel elements are at each recorded epoch, for the page's slider."""

from __future__ import annotations

from typing import Any

from harness.report.frames import Frames
from harness.report.geometry import maps_under


def sampled_positions(frames: Frames) -> list[dict[str, Any]]:
    """A run each: its name, the cells along a side of its kernels, the recorded epochs, and by stage the offsets from
    the kernel's centre, along frequency and along time, [epoch][element].

    Of DCLS systems whose spacings are learned: of the main ones each seed, of others the first. Elements that lack an
    epoch are left out.
    """
    found: list[dict[str, Any]] = []
    for (model, seed), run in frames.trajectories.groupby(["model", "seed"], sort=False):
        system, inside, stages = frames.systems[model], maps_under(frames, model), []
        shown = model in frames.main.values() or seed == frames.seeds[0]
        if not shown or not system.model.dcls or not system.model.dcls.position_rate:
            continue
        for stage, elements in run.groupby("stage"):
            places = elements.pivot(index="epoch", columns="element", values=["row", "column"]).dropna(axis=1).round(2)
            along = {"frequency": places.row.to_numpy().tolist(), "time": places.column.to_numpy().tolist()}
            stages.append({"stage": stage, "map": inside[stage], **along})
        name = f"{frames.backbone(model)}, {system.method}, seed {seed}"
        epochs = sorted(run.epoch.unique().tolist())
        found.append({"name": name, "side": frames.kernel_size(model), "epochs": epochs, "stages": stages})
    return found
