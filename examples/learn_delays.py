"""A small spiking network learns delays that are known by construction, in plain torch.

Each class is a pattern: every one of eight input channels fires once, at an offset of its own after a random start,
among spikes of noise. Counts tell nothing, since every channel fires as often in every class. One leaky neuron for each
class fires when the spikes that reach it coincide, for which its delays have to undo the offsets of its pattern: they
are known but for a shift that all delays of a neuron have in common. Weights stay 1, so all there is to learn are
positions. Their spread is large first, so that gradients reach far, and shrinks as the training goes on; what is
evaluated has whole delays and no spread. Beside it, the same network with the delays that it started with.

Needs torch and matplotlib, and about 20 seconds on one core. From the root of the checkout:

    python -m examples.learn_delays
"""

from __future__ import annotations

from pathlib import Path

import torch
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn import functional as F

import dcls
from examples.learn_where_to_look import DCLS, GREY, PLAIN, STYLE, begin

CLASSES, CHANNELS, SIZE, STEPS = 4, 8, 25, 60
FURTHEST = 20  # steps from the first to the last spike of a pattern
NOISE = 0.01  # spikes of noise a channel and step
LEAK, THRESHOLD = 0.5, 4.5  # of a neuron, whose potential is about 8 where all spikes coincide
SPREADS = 6.0, 0.1  # SIG at the first and the last step
BATCH, HELD_OUT, EVERY = 64, 512, 10
COLOURS = (DCLS, PLAIN, "#009E73", "#CC79A7")  # of Okabe and Ito


class Spike(torch.autograd.Function):
    """1 where the potential is above the threshold; backwards the slope of a fast sigmoid."""

    @staticmethod
    def forward(ctx, above: Tensor) -> Tensor:  # type: ignore[no-untyped-def, override]
        ctx.save_for_backward(above)
        return (above > 0).to(above.dtype)

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:  # type: ignore[no-untyped-def, override]
        (above,) = ctx.saved_tensors
        return grad / (1 + above.abs()).square()


def main() -> None:
    arguments = begin(__doc__, __file__, steps=400)
    offsets = torch.randint(0, FURTHEST + 1, (CLASSES, CHANNELS))
    layer = dcls.Dcls1d(CHANNELS, CLASSES, 1, dilated_kernel_size=SIZE, bias=False, causal=True)
    nn.init.ones_(layer.weight).requires_grad_(False)
    nn.init.uniform_(layer.P, -SIZE / 4, SIZE / 4)
    generator = torch.Generator().manual_seed(arguments.seed)
    recorder, accuracies = train(layer, offsets, arguments.steps, generator)
    errors = errors_of_delays(layer.P, offsets)
    first = errors_of_delays(recorder.positions["Dcls1d"][0], offsets)
    print("                              first     learned")
    print(f"right, whole delays          {accuracies[0]:6.1%}     {accuracies[-1]:6.1%}")
    print(f"delays, mean error (steps)   {first.abs().mean():6.2f}     {errors.abs().mean():6.2f}")
    print(f"delays within one step       {near(first):6.1%}     {near(errors):6.1%}")
    draw(arguments.picture, layer, offsets, recorder, accuracies)
    print(arguments.picture)


def spikes_of(targets: Tensor, offsets: Tensor, generator: torch.Generator) -> Tensor:
    """(N, CHANNELS, STEPS): the pattern of each target from a random start, and noise."""
    spikes = torch.rand(len(targets), CHANNELS, STEPS, generator=generator) < NOISE
    starts = torch.randint(0, STEPS - 2 * FURTHEST, (len(targets), 1), generator=generator)
    spikes.scatter_(
        2, (starts + offsets[targets]).unsqueeze(2), torch.ones(1, 1, 1, dtype=torch.bool).expand_as(spikes)
    )
    return spikes.float()


def potentials(currents: Tensor) -> tuple[Tensor, Tensor]:
    """Potentials and spikes (N, CLASSES, steps) of leaky neurons that are reset by their spikes."""
    potential = spike = torch.zeros_like(currents[..., 0])
    found, fired = [], []
    for current in currents.unbind(-1):
        potential = LEAK * potential * (1 - spike) + current
        spike = Spike.apply(potential - THRESHOLD)
        found.append(potential)
        fired.append(spike)
    return torch.stack(found, -1), torch.stack(fired, -1)


def train(
    layer: dcls.Dcls1d, offsets: Tensor, steps: int, generator: torch.Generator
) -> tuple[dcls.PositionRecorder, list[float]]:
    """Learn positions; return those recorded, and the accuracy at the same steps."""
    targets = torch.arange(HELD_OUT) % CLASSES
    unseen = spikes_of(targets, offsets, generator)
    recorder = dcls.PositionRecorder(layer, lambda step: step % EVERY == 0 or step == steps)
    optimizer = torch.optim.Adam([layer.P], lr=0.15)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    accuracies = []
    for step in range(steps + 1):
        recorder(step)
        if recorder.steps[-1] == step:
            accuracies.append(accuracy(layer, unseen, targets))
        if step == steps:
            return recorder, accuracies
        with torch.no_grad():
            layer.SIG.fill_(SPREADS[0] * (SPREADS[1] / SPREADS[0]) ** (step / steps))
        classes = torch.randint(0, CLASSES, (BATCH,), generator=generator)
        highest = potentials(layer(spikes_of(classes, offsets, generator)))[0].amax(-1)
        optimizer.zero_grad()
        F.cross_entropy(highest, classes).backward()
        optimizer.step()
        dcls.clamp_positions(layer)
        schedule.step()
    raise AssertionError("the last step returns")


@torch.no_grad()
def accuracy(layer: dcls.Dcls1d, spikes: Tensor, targets: Tensor) -> float:
    """Share of inputs for which the right neuron fires and no other, with whole delays."""
    with dcls.whole_positions(layer):
        fired = potentials(layer(spikes))[1].amax(-1)
    return (fired == F.one_hot(targets, CLASSES)).all(1).float().mean().item()


def errors_of_delays(P: Tensor, offsets: Tensor) -> Tensor:
    """Learned minus known delays, (CLASSES, CHANNELS), without the shift that a neuron's delays have in common."""
    difference = P.detach()[0, :, :, 0] - offsets
    return difference - difference.median(1, keepdim=True).values


def near(errors: Tensor) -> float:
    return (errors.abs() < 1).float().mean().item()


def draw(path: Path, layer: dcls.Dcls1d, offsets: Tensor, recorder: dcls.PositionRecorder, right: list[float]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with rc_context(STYLE):
        figure = Figure(figsize=(12, 4.2), layout="constrained")
        first, second, third = figure.subplots(1, 3)
        draw_paths(first, recorder)
        draw_delays(second, layer, offsets)
        third.set_title("The right neuron fires, and no other", loc="left")
        third.plot(recorder.steps, right, color=DCLS, linewidth=2, label="learned delays")
        third.axhline(right[0], color=GREY, linewidth=1.5, linestyle="--", label="delays of the start")
        third.set(xlabel="training step", ylabel="share of inputs not trained on", ylim=(0, 1.02))
        third.legend(frameon=False, loc="center right")
        figure.savefig(path, dpi=110, metadata={"Software": None})


def draw_paths(axes: Axes, recorder: dcls.PositionRecorder) -> None:
    axes.set_title("Delays as they are learned", loc="left")
    delays = SIZE // 2 - torch.stack(recorder.positions["Dcls1d"])[:, 0, ..., 0]
    for c in range(CLASSES):
        axes.plot(recorder.steps, delays[:, c], color=COLOURS[c], linewidth=0.9)
    axes.set(xlabel="training step", ylabel="delay (steps)")


def draw_delays(axes: Axes, layer: dcls.Dcls1d, offsets: Tensor) -> None:
    axes.set_title("Learned against known", loc="left")
    known = FURTHEST - offsets
    learned = known - errors_of_delays(layer.P, offsets)
    axes.plot((0, FURTHEST), (0, FURTHEST), color=GREY, linewidth=0.8)
    for c in range(CLASSES):
        axes.scatter(known[c], learned[c], s=34, color=COLOURS[c], alpha=0.8, linewidth=0, label=f"neuron {c + 1}")
    axes.set(xlabel="known delay (steps)", ylabel="learned delay, shifted (steps)", aspect="equal")
    axes.legend(frameon=False, loc="lower right", handletextpad=0.1)


if __name__ == "__main__":
    main()
