"""Scores of a model on clips."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from harness.data.clips import Clips
from harness.frontend import FrontEnd


def read_batch(clips: Clips, indices: range) -> Tensor:
    """Waveforms, float32 (clips, samples)."""
    return torch.from_numpy(np.stack([clips.waveform(index) for index in indices]))


@torch.inference_mode()
def score(model: nn.Module, front_end: FrontEnd, clips: Clips, batch: int, device: torch.device) -> np.ndarray:
    """Sigmoid of the logits, float32 (clips, classes), each clip once, in the order of `clips.ids`; eval mode."""
    model.eval()
    scores = []
    for start in range(0, len(clips), batch):
        waveform = read_batch(clips, range(start, min(start + batch, len(clips)))).to(device)
        log_mel = front_end(waveform).contiguous(memory_format=torch.channels_last)
        scores.append(model(log_mel).sigmoid().float().cpu().numpy())
    return np.concatenate(scores)
