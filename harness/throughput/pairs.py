"""Which models are timed together: each system with its baseline, once for all systems of the same architecture."""

from __future__ import annotations

from dataclasses import dataclass

from harness.config.params import Params
from harness.config.systems import Model


@dataclass(frozen=True)
class Pair:
    """`name` is that of the first system of this architecture; the baseline is the first it is compared with."""

    name: str
    model: Model
    baseline: Model


def pairs(params: Params) -> list[Pair]:
    """In the order of params.models; systems that differ in training alone are timed once."""
    found: dict[tuple[str, str, str], Pair] = {}
    for name in params.models:
        system = params.systems[name]
        if system.compared_with:
            baseline = params.systems[system.compared_with[0]].model
            architecture = (system.model.backbone, system.model.convolution, baseline.convolution)
            found.setdefault(architecture, Pair(name, system.model, baseline))
    return list(found.values())


def architectures(params: Params) -> list[str]:
    """A name of each architecture among params.models."""
    found: dict[tuple[str, str], str] = {}
    for name in params.models:
        model = params.systems[name].model
        found.setdefault((model.backbone, model.convolution), name)
    return list(found.values())
