"""Times `dcls` against the published package in the layers that its users have, by kind of model.

`make bench-clients` runs it, on the GPU if there is one, and writes benchmarks/results/clients-DEVICE.csv, from which
dcls/README.md has its table (`python -m benchmarks.table`). Shapes are those of published models; none
of their code is needed. Both layers hold the same values and take turns in one process; a ratio is the median over
rounds of times taken in the same round. Where outputs differ by more than rounding, nothing is timed.
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

import dcls
from benchmarks import published  # noqa: F401  (keeps the package from logging two lines a layer)
from benchmarks.table import RESULTS
from harness.base.files import write_csv, write_json
from harness.models.precision import exact_float32
from harness.records.provenance import benchmark_record
from harness.throughput.device import slug
from harness.throughput.machine import this_machine
from harness.throughput.rounds import LEAST, take_turns

from DCLS.construct import modules as DCLS  # isort: skip

COLUMNS = (
    "kind",
    "layer",
    "step",
    "rounds",
    "ours_ms",
    "published_ms",
    "times_as_fast",
    "low",
    "high",
    "largest_difference",
)
CLOSE = 2e-4  # of the largest output


@dataclass(frozen=True)
class Client:
    """`input` is (batch, channels, *map). `delays`: positions are spread over the kernel, and whole in evaluation."""

    kind: str
    layer: str
    channels: tuple[int, int]
    elements: int
    size: tuple[int, ...]
    groups: int
    padding: tuple[int, ...]
    input: tuple[int, ...]
    delays: bool = False

    @property
    def words(self) -> str:
        size = "x".join(map(str, self.size))
        ends = f"{self.channels[0]} to {self.channels[1]} channels"
        style = f"depthwise, {self.channels[0]} channels" if self.groups == self.channels[0] else ends
        elements = "1 element" if self.elements == 1 else f"{self.elements} elements"
        return f"`{self.layer}`, {elements} of {size}, {style}, input {'x'.join(map(str, self.input))}"


def _delays(inputs: int, outputs: int) -> Client:
    """A layer of a spiking network on SHD or SSC: 100 steps, each connection delayed by one of 25."""
    return Client("delays", "Dcls1d", (inputs, outputs), 1, (25,), 1, (0,), (64, inputs, 124), delays=True)


CLIENTS = (
    Client("vision", "Dcls2d", (96, 96), 34, (17, 17), 96, (8, 8), (4, 96, 56, 56)),
    Client("vision", "Dcls2d", (384, 384), 34, (17, 17), 384, (8, 8), (4, 384, 14, 14)),
    Client("audio", "Dcls2d", (96, 96), 26, (23, 23), 96, (11, 11), (2, 96, 64, 62)),
    Client("audio", "Dcls2d", (768, 768), 26, (23, 23), 768, (11, 11), (2, 768, 8, 7)),
    _delays(140, 256),
    _delays(256, 256),
    _delays(256, 20),
    Client("sensing", "Dcls1d", (64, 64), 8, (65,), 64, (32,), (16, 64, 1000)),
    Client("sensing", "Dcls1d", (12, 64), 8, (65,), 1, (32,), (16, 12, 1000)),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    machine = this_machine()
    exact_float32(True)
    torch.manual_seed(0)
    rows = [row for client in CLIENTS for row in compare(client, machine.device)]
    path = RESULTS / f"clients-{slug(machine.label)}.csv"
    write_csv(path, COLUMNS, rows)
    record = benchmark_record(
        "make bench-clients",
        {"least_rounds": LEAST},
        machine.device.type,
        label=machine.label,
        threads=torch.get_num_threads(),
    )
    write_json(path.with_suffix(".json"), record)
    print(path)


def compare(client: Client, device: torch.device) -> list[tuple]:
    """A row for training and one for evaluation. Raises ValueError where outputs differ by more than rounding."""
    ours, theirs = _pair(client, device)
    inputs = torch.randn(client.input, device=device)
    rows = []
    for step, prepare in (("training", _training), ("evaluation", _evaluation)):
        cases = {name: prepare(layer, inputs, client) for name, layer in (("ours", ours), ("published", theirs))}
        outputs = [case().detach() for case in cases.values()]
        difference = ((outputs[0] - outputs[1]).abs().max() / outputs[1].abs().max()).item()
        if not difference < CLOSE:
            raise ValueError(f"{client.words}, {step}: outputs differ by {difference:.1e} of the largest")
        seconds, failed = take_turns(cases, device, 2.0)
        if failed:
            raise RuntimeError(failed)
        ratios = seconds["published"] / seconds["ours"]
        low, high = np.quantile(ratios, (0.25, 0.75))
        ours_ms, theirs_ms = (1000 * float(np.median(seconds[name])) for name in ("ours", "published"))
        rows.append(
            (
                client.kind,
                client.words,
                step,
                len(ratios),
                ours_ms,
                theirs_ms,
                float(np.median(ratios)),
                float(low),
                float(high),
                difference,
            )
        )
        print(f"{client.kind} | {client.words} | {step}: {ours_ms:.2f} ms, {np.median(ratios):.1f} times", flush=True)
    return rows


def _pair(client: Client, device: torch.device) -> tuple[nn.Module, nn.Module]:
    arguments = {
        "kernel_count": client.elements,
        "dilated_kernel_size": client.size,
        "padding": client.padding,
        "groups": client.groups,
        "bias": not client.delays,
    }
    theirs = getattr(DCLS, client.layer)(*client.channels, **arguments)
    if client.delays:
        with torch.no_grad():
            theirs.P.uniform_(-(client.size[0] // 2), client.size[0] // 2)
    ours = getattr(dcls, client.layer)(*client.channels, **arguments)
    ours.load_state_dict(theirs.state_dict())
    return ours.to(device), theirs.to(device)


def _training(layer: nn.Module, inputs: Tensor, client: Client) -> Callable[[], Tensor]:
    """Forward and backward after positions have changed, as an optimizer's step changes them."""
    layer.train()
    gradient = torch.randn_like(layer(inputs))

    def step() -> Tensor:
        with torch.no_grad():
            layer.P.mul_(1.0)
        for parameter in layer.parameters():
            parameter.grad = None
        output = layer(inputs)
        output.backward(gradient)
        return output

    return step


def _evaluation(layer: nn.Module, inputs: Tensor, client: Client) -> Callable[[], Tensor]:
    layer = copy.deepcopy(layer).eval()
    if client.delays:  # each connection delayed by a whole number of steps
        with torch.no_grad():
            layer.P.round_()
        layer.version = layer.DCK.version = "max"
        layer.SIG.data.zero_()
    return torch.no_grad()(partial(layer, inputs))


if __name__ == "__main__":
    sys.exit(main())
