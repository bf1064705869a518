"""How large the feature maps are, and which cells of a kernel never meet anything but padding."""

from __future__ import annotations

from harness.audio.units import HOP, MEL_BANDS, SAMPLE_RATE, STEM_KERNEL

STAGES = (1, 2, 3, 4)


def map_size(backbone: str, stage: int, clip_seconds: float) -> tuple[int, int]:
    """Cells of a stage's feature maps along frequency and time; ConvNeXt halves an odd side down, the others up."""
    sides = MEL_BANDS // STEM_KERNEL[0], (round(clip_seconds * SAMPLE_RATE) // HOP + 1) // STEM_KERNEL[1]
    for _ in range(stage - 1):
        sides = tuple((side + (backbone != "convnext")) // 2 for side in sides)  # type: ignore[assignment]
    return sides


def reach(backbone: str, stage: int, clip_seconds: float, kernel_size: int) -> tuple[int, int]:
    """Along frequency and time, the largest offset in cells from the kernel's centre that meets the map at all."""
    rows, columns = map_size(backbone, stage, clip_seconds)
    return min(kernel_size // 2, rows - 1), min(kernel_size // 2, columns - 1)


def in_words(backbone: str, clip_seconds: float, kernel_size: int) -> str:
    """`maps of 64x8, ... cells; of 23x23 kernel cells 0, ... lie outside`, by stage."""
    sizes, outside = [], []
    for stage in STAGES:
        rows, columns = (2 * cells + 1 for cells in reach(backbone, stage, clip_seconds, kernel_size))
        sizes.append("x".join(map(str, map_size(backbone, stage, clip_seconds))))
        outside.append(f"{1 - rows * columns / kernel_size**2:.0%}")
    side = f"{kernel_size}x{kernel_size}"
    return f"maps of {', '.join(sizes)} cells; {', '.join(outside)} of the {side} kernel cells lie outside every map"
