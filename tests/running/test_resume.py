"""What a checkpoint gives back."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from harness.running import resume


def test_recorded_positions_come_back_in_the_order_in_which_they_were_recorded(tmp_path: Path) -> None:
    """Not in that of their names, in which epoch 16 comes before epoch 1: positions.csv would have other bytes."""
    model = nn.Linear(2, 2)
    trainee = resume.Trainee(
        model, torch.optim.AdamW(model.parameters()), torch.amp.GradScaler("cpu", enabled=False), None
    )
    recorded = {f"{epoch}|layer|P": torch.full((2,), float(epoch)) for epoch in (0, 1, 2, 4, 8, 16)}
    resume.save(tmp_path, 1, trainee, resume.Progress(positions=recorded), kept=1)
    positions = resume.load(tmp_path, 1, trainee).positions
    assert list(positions) == list(recorded)
    assert all(torch.equal(positions[name], recorded[name]) for name in recorded)
