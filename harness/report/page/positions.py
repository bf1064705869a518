"""Where sampled kernel elements are at each recorded epoch, for the page's slider."""

from __future__ import annotations

from typing import Any

from harness.report.frames import Frames

AXES = {"frequency": "row", "time": "column"}


def sampled_positions(frames: Frames) -> list[dict[str, Any]]:
    """A run each: its name, the cells along a side of its kernels, the recorded epochs, and by stage the offsets from
    the kernel's centre, along frequency and along time, [epoch][element].

    Elements that lack an epoch, and runs that recorded none, are left out.
    """
    found = []
    for (model, seed), run in frames.trajectories.groupby(["model", "seed"], sort=False):
        stages = []
        for stage, elements in run.groupby("stage"):
            by_epoch = elements.pivot(index="epoch", columns="element", values=["row", "column"]).dropna(axis=1)
            along = {name: by_epoch[axis].round(2).to_numpy().tolist() for name, axis in AXES.items()}
            stages.append({"stage": stage, **along})
        found.append(
            {
                "name": f"{frames.backbone(model)}, seed {seed}",
                "side": frames.kernel_size(model),
                "epochs": sorted(run.epoch.unique().tolist()),
                "stages": stages,
            }
        )
    return found
