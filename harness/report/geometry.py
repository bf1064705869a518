"""How large the feature maps under a system's kernels are, and which cells of the kernels lie outside every map."""

from __future__ import annotations

import re

import numpy as np

from harness.audio.units import HOP, MEL_BANDS, SAMPLE_RATE, STEM_KERNEL, cell_size
from harness.report.frames import Frames

STAGES = (1, 2, 3, 4)
Map = tuple[int, int]  # cells along frequency and time


def map_size(backbone: str, stage: int, clip_seconds: float) -> Map:
    """Of a stage, counted from 1, of a backbone (the paper's name) for clips of that length.

    The stem leaves out a rest; so do ConvNeXt's halvings, where those of the other two, with padding, round up.
    """
    frames = round(clip_seconds * SAMPLE_RATE) // HOP + 1
    sides = [MEL_BANDS // STEM_KERNEL[0], frames // STEM_KERNEL[1]]
    for _ in range(stage - 1):
        sides = [side // 2 if backbone.startswith("ConvNeXt") else -(-side // 2) for side in sides]
    return sides[0], sides[1]


def outside(size: int, inside: Map) -> np.ndarray:
    """Of a kernel of (size, size) cells, rows along frequency, those that meet nothing but padding, bool (size, size).

    A cell that is n cells from the centre along an axis on which the map has n cells or fewer never meets the map.
    """
    offsets = np.abs(np.arange(size) - size // 2)
    return (offsets[:, None] >= inside[0]) | (offsets[None, :] >= inside[1])


def in_words(frames: Frames, model: str) -> str:
    """`ConvNeXt-T 64x31, 32x15, 16x7, 8x3 cells; of the 23x23 kernel 44% of the cells are outside at stage 3, ...`."""
    backbone, size = frames.backbone(model), frames.kernel_size(model)
    maps = {stage: map_size(backbone, stage, frames.clip_seconds) for stage in STAGES}
    shares = {stage: 100 * float(outside(size, one).mean()) for stage, one in maps.items()}
    beyond = ", ".join(f"{share:.0f}% at stage {stage}" for stage, share in shares.items() if share)
    sizes = ", ".join(f"{bands}x{steps}" for bands, steps in maps.values())
    return f"{backbone} {sizes}" + (f" ({beyond} of the {size}x{size} cells outside)" if beyond else "")


def maps_under(frames: Frames, model: str) -> dict[int, Map]:
    """Cells of the feature maps under a model's kernels, along frequency and time, by stage."""
    stages, backbone = _stages(frames, model), frames.backbone(model)
    return {number: map_size(backbone, stage, frames.clip_seconds) for number, stage in stages.items()}


def cell_sizes(frames: Frames, model: str) -> dict[int, tuple[int, float]]:
    """Mel bands and milliseconds that a kernel's cell stands for, by stage."""
    return {number: cell_size(stage) for number, stage in _stages(frames, model).items()}


def _stages(frames: Frames, model: str) -> dict[int, int]:
    """Stage of the backbone, which the layers' names tell, by that of the recorded positions."""
    layers = frames.positions[frames.positions.model == model].groupby("stage").layer.first()
    places = {int(str(number)): re.search(r"stages\.(\d+)\.", str(layer)) for number, layer in layers.items()}
    return {number: int(place[1]) + 1 if place else number for number, place in places.items()}
