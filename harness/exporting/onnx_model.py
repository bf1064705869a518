"""A trained model as one ONNX graph, from the waveform to scores, and its check with onnxruntime."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from timm.models.fastvit import ReparamLargeKernelConv
from torch import Tensor, nn
from torch.nn.functional import conv1d, pad

import dcls
from harness.audio.front_end import FLOOR, MEAN, STD, FrontEnd
from harness.predicting.weights import Tagger, logits_and_embedding
from harness.records.description import KEY, Description
from harness.throughput.contenders import fuse

SHORTEST = 40_640  # samples: 128 frames, which the stem and three halvings bring down to one column
TOLERANCE = 1e-3  # of a score, between onnxruntime's fused model and PyTorch's own


class Tagging(nn.Module):
    """From waveforms, float32 (clips, samples) at 32 kHz, to scores (clips, classes) and embeddings (clips, features).

    The Fourier transform is a convolution with cosines and sines: every runtime has that, few have complex numbers.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        front_end = FrontEnd()
        self.model, self.length, self.hop = model, front_end.spectrogram.n_fft, front_end.spectrogram.hop_length
        time = torch.arange(self.length, dtype=torch.float64)
        turns = torch.outer(torch.arange(self.length // 2 + 1, dtype=torch.float64), time).remainder(self.length)
        angles, window = turns * (2 * torch.pi / self.length), front_end.spectrogram.window.double()
        self.register_buffer("waves", torch.cat([angles.cos() * window, angles.sin() * window]).float()[:, None])
        self.register_buffer("bands", front_end.mel.fb.T.contiguous())

    def log_mel(self, waveforms: Tensor) -> Tensor:
        """Standardized log-mel, (clips, 1, 128, 1 + samples // 320), as `FrontEnd` gives it."""
        padded = pad(waveforms[:, None], (self.length // 2, self.length // 2), mode="reflect")
        squares = conv1d(padded, self.waves, stride=self.hop).square()  # type: ignore[arg-type]
        bins = self.length // 2 + 1
        mel = self.bands @ (squares[:, :bins] + squares[:, bins:])  # type: ignore[operator]
        return ((10 * mel.clamp(min=FLOOR).log10() - MEAN) / STD)[:, None]

    def forward(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        logits, embedding = logits_and_embedding(self.model, self.log_mel(waveform))
        return logits.sigmoid(), embedding


def write_onnx(path: Path, model: nn.Module, about: Description) -> None:
    """Fuse `model` in place, and write it with its front end: any number of clips, of any length from 1.27 s on.

    Input `waveform`; outputs `scores` and `embedding`; the description is in the file's metadata.
    """
    dcls.fuse(model)
    for module in model.modules():
        if isinstance(
            module, ReparamLargeKernelConv
        ):  # perhaps no longer of timm's size, which it adds a 3x3 kernel to
            module.kernel_size = module.large_conv.conv.kernel_size[0]
    fuse(about.model, model)
    tagging = Tagging(model.float().cpu()).eval()
    clips, samples = torch.export.Dim("clips", min=1), torch.export.Dim("samples", min=SHORTEST)
    example = torch.zeros(2, round(about.clip_seconds * about.front_end.sample_rate))
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # the exporter tells of its own workings, on stdout too
    try:
        with warnings.catch_warnings(action="ignore"), contextlib.redirect_stdout(io.StringIO()):
            program = torch.onnx.export(
                tagging,
                (example,),
                dynamo=True,
                verbose=False,
                input_names=["waveform"],
                output_names=["scores", "embedding"],
                dynamic_shapes={"waveform": {0: clips, 1: samples}},
            )
    finally:
        logging.disable(before)
    assert program is not None
    program.model.metadata_props[KEY] = about.model_dump_json()
    program.save(path)


def largest_difference(path: Path, tagger: Tagger, waveforms: np.ndarray) -> float:
    """Between the scores of the ONNX file and of PyTorch: each clip by itself, all at once, and half as long again.

    Raises RuntimeError where it is above TOLERANCE.
    """
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    longer = np.concatenate([waveforms, waveforms[:, : waveforms.shape[1] // 2]], axis=1)
    found = 0.0
    for some in (*waveforms[:, None], waveforms, longer):
        scores, _ = session.run(["scores", "embedding"], {"waveform": some})
        wanted, _ = tagger(torch.from_numpy(some))
        found = max(found, float(np.abs(scores - wanted.numpy()).max()))
    if not found <= TOLERANCE:
        raise RuntimeError(f"{path.name}: scores differ by {found:.2g} from PyTorch's, above {TOLERANCE:g}")
    return found
