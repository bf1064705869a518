"""Positions over a training: kept at chosen steps, with their changes, and drawn."""

from collections.abc import Callable, Container
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from .base import DclsNd
from .training import dcls_layers

if TYPE_CHECKING:  # matplotlib is needed for the plot alone
    from matplotlib.figure import Figure

MOST_PATHS = 300  # drawn of one layer and index


class PositionRecorder:
    """Keeps the positions of a model's DCLS layers at chosen steps of its training.

    Parameters
    ----------
    model
        Layers that share positions are recorded once, under the name of the first.
    chosen
        The steps to record, or a function that says of a step whether to; all by default.

    Attributes
    ----------
    steps : list of int
        The steps recorded.
    positions : dict
        By layer, P at those steps, each (axes, out, in // groups, kernel_count) in cells, on the CPU, as it was.

    Examples
    --------
    >>> import dcls, torch
    >>> model = torch.nn.Sequential(dcls.Dcls1d(2, 2, 1, dilated_kernel_size=9))
    >>> recorder = dcls.PositionRecorder(model, chosen=lambda step: step % 10 == 0)
    >>> for step in range(21):
    ...     _ = model[0].P.data.add_(0.1)
    ...     recorder(step)
    >>> recorder.steps, recorder.changes()["0"].round(decimals=3)
    ([0, 10, 20], tensor([0.1000, 0.1000]))
    """

    def __init__(self, model: nn.Module, chosen: Container[int] | Callable[[int], bool] | None = None) -> None:
        first: dict[Tensor, tuple[str, DclsNd]] = {}
        for name, layer in dcls_layers(model):
            first.setdefault(layer.P, (name or type(layer).__name__, layer))
        if not first:
            raise ValueError("there is no DCLS layer in this model")
        self._layers = dict(first.values())
        self._chosen = chosen
        self.steps: list[int] = []
        self.positions: dict[str, list[Tensor]] = {name: [] for name in self._layers}

    def __call__(self, step: int) -> None:
        """Keep the positions, if this step is chosen; steps must grow."""
        chosen = self._chosen
        if chosen is not None and not (chosen(step) if callable(chosen) else step in chosen):
            return
        if self.steps and step <= self.steps[-1]:
            raise ValueError(f"step {step} comes after step {self.steps[-1]}")
        self.steps.append(step)
        for name, layer in self._layers.items():
            self.positions[name].append(layer.P.detach().to("cpu", copy=True))

    def changes(self) -> dict[str, Tensor]:
        """By layer, the mean of abs(P - P before) over the steps between, in cells a step, (steps recorded - 1,)."""
        spans = torch.tensor(self.steps).diff()
        return {
            name: torch.stack([(b - a).abs().mean() for a, b in pairwise(kept)]) / spans
            if len(kept) > 1
            else torch.empty(0)
            for name, kept in self.positions.items()
        }

    def plot(self, layer: str | None = None) -> "Figure":
        """Paths of the positions of one layer, the first by default, one panel an index of P, and the changes of all.

        At most 300 elements, evenly picked, are drawn in a panel. Needs matplotlib; ``figure.savefig(path)`` writes it.
        """
        from matplotlib.figure import Figure

        if len(self.steps) < 2:
            raise ValueError(f"a plot needs two recorded steps, but there are {len(self.steps)}")
        name = layer if layer is not None else next(iter(self._layers))
        paths = torch.stack(self.positions[name]).float().flatten(2)  # (steps, axes, elements)
        paths = paths[..., :: -(-paths.shape[-1] // MOST_PATHS)]
        panels = paths.shape[1] + 1
        figure = Figure(figsize=(4.5 * panels, 3.6), layout="constrained")
        axes = figure.subplots(1, panels, squeeze=False)[0]
        for index in range(panels - 1):
            axes[index].plot(self.steps, paths[:, index], color="#D55E00", linewidth=0.7, alpha=0.5)
            axes[index].set(title=f"{name}, P[{index}]", xlabel="step", ylabel="position (cells)")
        for one, changes in self.changes().items():
            axes[-1].plot(self.steps[1:], changes, label=one)
        axes[-1].set(title="Mean change", xlabel="step", ylabel="cells a step")
        axes[-1].legend(frameon=False)
        return figure
