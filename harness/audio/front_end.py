"""Waveform to standardized log-mel spectrogram, as the paper's front end does it."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torchaudio
from torch import Tensor, nn
from torch.nn.functional import pad

from harness.audio.units import HIGHEST_HZ, HOP, LOWEST_HZ, MEL_BANDS, SAMPLE_RATE

MEAN, STD = -18.2696, 30.5735  # the published front end's constants, in dB
FLOOR = 1e-10
SAMPLES_AT_ONCE = 2**17  # on a CPU, so that what is made of them stays in its cache
BANDS_AT_ONCE = 16  # the fewer, the fewer zeros are multiplied, and the more calls it takes


class FrontEnd(nn.Module):
    """The published front end (arXiv 2309.13972, section 3.1) in its two steps.

    Training erases a rectangle between them, so they are called one by one there; `forward` does both. The window and
    the filter bank are torchaudio's, and so, to rounding, are the results.
    """

    def __init__(self) -> None:
        super().__init__()
        self.spectrogram = torchaudio.transforms.Spectrogram(n_fft=1024, hop_length=HOP, power=None)
        self.mel = torchaudio.transforms.MelScale(
            n_mels=MEL_BANDS, sample_rate=SAMPLE_RATE, f_min=LOWEST_HZ, f_max=HIGHEST_HZ, n_stft=513
        )
        self._ranges = list(_bin_ranges(self.mel.fb))

    def power(self, waveform: Tensor) -> Tensor:
        """Power spectrogram, (clips, 513, frames), of float waveforms in [-1, 1], (clips, samples) at 32 kHz."""
        length = self.spectrogram.n_fft
        padded = pad(waveform.unsqueeze(1), (length // 2, length // 2), mode="reflect").squeeze(1)
        frames = padded.unfold(1, length, self.spectrogram.hop_length)  # a view, (clips, frames, length)
        squares = torch.view_as_real(torch.fft.rfft(frames * self.spectrogram.window)).square_()
        return (squares[..., 0] + squares[..., 1]).transpose(1, 2)

    def log_mel(self, power: Tensor) -> Tensor:
        """Standardized log-mel, (clips, 1, 128, frames), of a power spectrogram (clips, 513, frames).

        A band has a few neighbouring bins, so that a matrix product of some bands takes no more than their bins.
        """
        clips, _, frames = power.shape
        by_frame = power.transpose(1, 2).reshape(clips * frames, -1)
        mel = power.new_empty(clips * frames, MEL_BANDS)
        for bands, bins in self._ranges:
            torch.mm(by_frame[:, bins], self.mel.fb[bins, bands], out=mel[:, bands])
        decibel = mel.clamp_(min=FLOOR).log10_().mul_(10.0)
        log_mel = decibel.sub_(MEAN).div_(STD)
        return log_mel.view(clips, frames, MEL_BANDS).transpose(1, 2).unsqueeze(1)

    def forward(self, waveform: Tensor) -> Tensor:
        """(clips, samples) to (clips, 1, 128, 1 + samples // 320)."""
        return torch.cat([self.log_mel(self.power(waveform[few])) for few in few_at_once(waveform)])


def few_at_once(waveform: Tensor) -> Iterator[slice]:
    """Slices of the clips, (clips, samples), to work on together: short ones on a CPU, one of all elsewhere."""
    clips, samples = waveform.shape
    few = max(1, SAMPLES_AT_ONCE // samples) if waveform.device.type == "cpu" else clips
    return (slice(start, start + few) for start in range(0, clips, few))


def _bin_ranges(filter_bank: Tensor) -> Iterator[tuple[slice, slice]]:
    """Neighbouring bands, and the bins in which any of them is not zero, of a filter bank (bins, bands)."""
    for first in range(0, filter_bank.shape[1], BANDS_AT_ONCE):
        bands = slice(first, first + BANDS_AT_ONCE)
        used = filter_bank[:, bands].any(1).nonzero().flatten().tolist()
        yield bands, slice(used[0], used[-1] + 1)
