"""Waveform to standardized log-mel spectrogram, as the paper's front end does it."""

from __future__ import annotations

import torch
import torchaudio
from torch import Tensor, nn

from harness.audio.units import HIGHEST_HZ, HOP, LOWEST_HZ, MEL_BANDS, SAMPLE_RATE

MEAN, STD = -18.2696, 30.5735  # the published front end's constants, in dB
FLOOR = 1e-10


class FrontEnd(nn.Module):
    """The published front end (arXiv 2309.13972, section 3.1) in its two steps.

    Training erases a rectangle between them, so they are called one by one there; `forward` does both.
    """

    def __init__(self) -> None:
        super().__init__()
        self.spectrogram = torchaudio.transforms.Spectrogram(n_fft=1024, hop_length=HOP, power=None)
        self.mel = torchaudio.transforms.MelScale(
            n_mels=MEL_BANDS, sample_rate=SAMPLE_RATE, f_min=LOWEST_HZ, f_max=HIGHEST_HZ, n_stft=513
        )

    def power(self, waveform: Tensor) -> Tensor:
        """Power spectrogram, (clips, 513, frames), of float waveforms in [-1, 1], (clips, samples) at 32 kHz."""
        spectrum = self.spectrogram(waveform)
        return spectrum.real.square() + spectrum.imag.square()  # a quarter of the time of abs() ** 2

    def log_mel(self, power: Tensor) -> Tensor:
        """Standardized log-mel, (clips, 1, 128, frames), of a power spectrogram (clips, 513, frames)."""
        decibel = 10.0 * torch.log10(self.mel(power).clamp(min=FLOOR))
        return ((decibel - MEAN) / STD).unsqueeze(1)

    def forward(self, waveform: Tensor) -> Tensor:
        """(clips, samples) to (clips, 1, 128, 1 + samples // 320)."""
        return self.log_mel(self.power(waveform))
