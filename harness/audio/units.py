"""What a band, a frame and a cell of a feature map stand for, in Hz and milliseconds. Imports nothing heavy."""

from __future__ import annotations

import math

SAMPLE_RATE = 32000
HOP = 320
MEL_BANDS = 128
LOWEST_HZ, HIGHEST_HZ = 50.0, 14000.0  # of the mel scale, torchaudio's default: HTK's
STEM_KERNEL = (2, 16)  # frequency, time, and its stride (arXiv 2309.13972, section 3.1)


def cell_size(stage: int) -> tuple[int, float]:
    """Mel bands and milliseconds from one cell to the next in the feature maps of a stage, counted from 1.

    The stem takes 2 bands x 16 frames to a cell; each later stage of all three backbones halves both.
    """
    bands, frames = (side * 2 ** (stage - 1) for side in STEM_KERNEL)
    return bands, frames * 1000 * HOP / SAMPLE_RATE


def band_centres() -> list[float]:
    """Centre of each of the 128 mel bands, in Hz."""
    low, high = _mel(LOWEST_HZ), _mel(HIGHEST_HZ)
    return [_hz(low + (high - low) * band / (MEL_BANDS + 1)) for band in range(1, MEL_BANDS + 1)]


def band_spacing(frequency: float) -> float:
    """Hz from one mel band to the next near a frequency (Hz): it grows with frequency."""
    step = (_mel(HIGHEST_HZ) - _mel(LOWEST_HZ)) / (MEL_BANDS + 1)
    return _hz(_mel(frequency) + step / 2) - _hz(_mel(frequency) - step / 2)


def _mel(frequency: float) -> float:
    return 2595 * math.log10(1 + frequency / 700)


def _hz(mel: float) -> float:
    return 700 * (10 ** (mel / 2595) - 1)
