"""Scores of a model on clips."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from harness.audio.front_end import FrontEnd
from harness.data.clips.clips import Clips
from harness.running.processes import World


def read_batch(clips: Clips, indices: range) -> Tensor:
    """Waveforms, float32 (clips, samples)."""
    return torch.from_numpy(np.stack([clips.waveform(index) for index in indices]))


@torch.inference_mode()
def score(model: nn.Module, front_end: FrontEnd, clips: Clips, batch: int, world: World) -> np.ndarray:
    """Sigmoid of the logits, float32 (clips, classes), in the order of `clips.ids`, in eval mode.

    Each process takes every `world.size`-th batch, and all have the whole result. Batches are the same whatever the
    number of processes. Raises RuntimeError unless every id has been scored exactly once.
    """
    model.eval()
    starts = range(0, len(clips), batch)[world.rank :: world.size]
    scores = torch.zeros(len(clips), len(clips.labels), device=world.device)
    times_scored = torch.zeros(len(clips), device=world.device)
    for start in starts:
        indices = range(start, min(start + batch, len(clips)))
        waveform = read_batch(clips, indices).to(world.device)
        log_mel = front_end(waveform).contiguous(memory_format=torch.channels_last)
        scores[start : indices.stop] = model(log_mel).sigmoid().float()
        times_scored[start : indices.stop] += 1
    wrong = [clips.ids[index] for index in (world.total(times_scored) != 1).nonzero().flatten().tolist()]
    if wrong or len(set(clips.ids)) != len(clips):
        raise RuntimeError(f"not scored exactly once: {wrong[:5] or 'an id that stands twice'}")
    return world.total(scores).cpu().numpy()
