"""Positions over a training: what is kept, at which steps, and the plot."""

import pytest
import torch
from torch import nn

import dcls


def trained(chosen=None):
    torch.manual_seed(0)
    model = nn.Sequential(*(dcls.Dcls2d(4, 4, 3, 1, 2, 5, 4) for _ in range(3)))
    model[1].P = model[0].P
    recorder = dcls.PositionRecorder(model, chosen)
    optimizer = torch.optim.SGD([model[0].P, model[2].P], 1.0)
    seen = []
    for step in range(7):
        seen.append(model[0].P.detach().clone())
        recorder(step)
        optimizer.zero_grad()
        model(torch.randn(2, 4, 8, 8)).square().sum().backward()
        optimizer.step()
    return model, recorder, seen


@pytest.mark.parametrize("chosen", [(0, 2, 5), lambda step: step in (0, 2, 5)], ids=["steps", "function"])
def test_what_is_kept(chosen):
    _, recorder, seen = trained(chosen)
    assert recorder.steps == [0, 2, 5]
    assert list(recorder.positions) == ["0", "2"]  # one entry for shared positions
    assert all(torch.equal(kept, seen[step]) for kept, step in zip(recorder.positions["0"], (0, 2, 5), strict=True))
    changes = recorder.changes()["0"]
    assert changes[1] == pytest.approx((seen[5] - seen[2]).abs().mean().item() / 3)
    assert changes.min() > 0
    with pytest.raises(ValueError, match="step 5 comes after step 5"):
        recorder(5)


def test_plot(tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    _, recorder, _ = trained()
    figure = recorder.plot("2")
    assert [axes.get_title() for axes in figure.axes] == ["2, P[0]", "2, P[1]", "Mean change"]
    lines = figure.axes[0].lines
    assert len(lines) == 12
    assert list(lines[0].get_ydata()) == pytest.approx([P[0, 0, 0, 0].item() for P in recorder.positions["2"]])
    figure.savefig(tmp_path / "positions.png")
    assert (tmp_path / "positions.png").stat().st_size > 10_000


def test_nothing_to_record_or_plot():
    with pytest.raises(ValueError, match="no DCLS layer"):
        dcls.PositionRecorder(nn.Conv2d(1, 1, 3))
    with pytest.raises(ValueError, match="two recorded steps"):
        dcls.PositionRecorder(dcls.Dcls1d(1, 1, 1, dilated_kernel_size=3)).plot()
