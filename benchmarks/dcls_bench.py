"""Times `dcls` against the published package and the plain 7x7 baselines, taking turns in one process.

`make bench` runs it, on the GPU if there is one, and writes benchmarks/results/dcls-DEVICE.csv. Ratios are medians over
rounds of times taken in the same round, so that what else the machine does meets both alike. Positions are timed as
they start (normal(0, 0.5), near the centre) and spread over the whole kernel, because on a CPU kernels whose outer
cells are empty are cheaper. Convolutions are computed by the fastest backend, `use_convolution("measured")`.
"""

from __future__ import annotations

import argparse
import gc
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.published import published_kernel, published_like, with_published_layers
from dcls import Dcls2d, convolution_choices, use_convolution
from harness.base.files import write_csv, write_json
from harness.config.params import load
from harness.config.systems import PAPER
from harness.models.build import build_model
from harness.models.precision import exact_float32
from harness.records.provenance import benchmark_record
from harness.throughput.device import slug
from harness.throughput.machine import this_machine
from harness.throughput.rounds import LEAST, take_turns, timed

RESULTS = Path(__file__).parent / "results"
FULL_SIZE = load(Path(__file__).parents[1] / "presets" / "audioset.yaml").systems  # the paper's
CHANNELS = (96, 192, 384, 768)
MODELS = ("convnext_dcls_audio_tiny", "convformer_dcls_audio_s18", "fastvit_dcls_audio_sa24")
INPUT = (1, 128, 1001)
COLUMNS = (
    "what",
    "positions",
    "implementation",
    "rounds",
    "median_s",
    "quartile_low_s",
    "quartile_high_s",
    "peer",
    "times_as_fast",
    "gflops",
)
Case = Callable[[], object]


@dataclass(frozen=True)
class Bench:
    device: torch.device
    batch: int  # clips


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=8, help="clips in a forward pass or step (default: %(default)s)")
    parser.add_argument("--memory-of", choices=("ours", "published"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    machine = this_machine()
    if arguments.memory_of:
        print(peak_memory(arguments.memory_of, machine.device))
        return
    exact_float32(True)
    use_convolution("measured")
    bench = Bench(machine.device, arguments.batch)
    rows = yardsticks(bench)
    for positions in ("initial", "spread"):
        for channels in CHANNELS:
            rows += kernels(channels, positions, bench)
        for name in MODELS:
            rows += models(name, positions, bench)
    memory = {name: int(_child(name)) for name in ("ours", "published")}
    path = RESULTS / f"dcls-{slug(machine.label)}.csv"
    write_csv(path, COLUMNS, rows)
    record = benchmark_record(
        "make bench",
        {"batch": bench.batch, "least_rounds": LEAST},
        machine.device.type,
        label=machine.label,
        threads=torch.get_num_threads(),
        peak_extra_memory_bytes=memory,
        convolutions=convolution_choices(),
    )
    write_json(path.with_suffix(".json"), record)
    print(f"dense kernel, C = {CHANNELS[-1]}, forward and backward, peak extra memory: {memory}")
    print(path)


def kernels(channels: int, positions: str, bench: Bench) -> list[tuple]:
    """The dense kernel alone, forward and forward with backward."""
    ours, published = _pair(channels, positions, bench.device)
    pairs: dict[str, tuple[Case, Case]] = {
        "forward": (_no_grad(ours.kernel), _no_grad(lambda: published_kernel(published))),
        "forward and backward": (
            lambda: ours.kernel().sum().backward(),
            lambda: published_kernel(published).sum().backward(),
        ),
    }
    rows = []
    ours.train()  # eval would answer from its cache
    for what, (mine, theirs) in pairs.items():

        def anew(mine: Case = mine) -> object:
            with torch.no_grad():
                ours.P.add_(0.0)  # as after an optimizer step: nothing remembered may be used
                ours.P[0, 0, 0, 0] += 1e-3
            return mine()

        seconds = _turns({"dcls": anew, "published": theirs}, bench.device)
        rows += _rows(f"dense kernel, C = {channels}, {what}", positions, seconds, {"dcls": "published"})
    return rows


def models(name: str, positions: str, bench: Bench) -> list[tuple]:
    """Full-size models, eval and training step: ours, the 7x7 baseline, and the published layers.

    Those are timed at initial positions alone, since where elements are does not matter there, and first.
    """
    rows = []
    inputs = torch.randn(bench.batch, *INPUT, device=bench.device).contiguous(memory_format=torch.channels_last)
    ours, baseline = full_size_model(name, positions, bench), full_size_model(str(PAPER[name][1]), positions, bench)
    for what in ("eval", "training step"):
        peers, slow = {"dcls": "baseline"}, {}
        if positions == "initial":
            slow = _published(
                step_of(with_published_layers(full_size_model(name, positions, bench)), inputs, what), bench
            )
            peers["published"] = "baseline"
        cases = {"dcls": step_of(ours, inputs, what), "baseline": step_of(baseline, inputs, what)}
        seconds = _turns(cases, bench.device) | slow
        if slow:
            rows += _rows(f"{name}, {what}", positions, seconds, {"dcls": "published"})[:1]
        rows += _rows(f"{name}, {what}", positions, seconds, peers)
    return rows


def _published(step: Case, bench: Bench) -> dict[str, np.ndarray]:
    """Once on a CPU, where it takes up to a minute."""
    if bench.device.type == "cpu":
        return {"published": np.array([timed(step, bench.device)])}
    return _turns({"published": step}, bench.device)


def yardsticks(bench: Bench) -> list[tuple]:
    """What the device can do: a matrix product, and depthwise convolutions on the first stage's map (64x62).

    `gflops` counts two operations for a multiplication and an addition, and none with the padding's zeros.
    """
    matrix = torch.randn(1024, 1024, device=bench.device)
    image = torch.randn(bench.batch, 96, 64, 62, device=bench.device).contiguous(memory_format=torch.channels_last)
    cases: dict[str, tuple[Case, float]] = {"matrix product 1024x1024x1024": (lambda: matrix @ matrix, 2 * 1024**3)}
    for size in (7, 23):
        kernel = torch.randn(96, 1, size, size, device=bench.device)
        pairs = [sum(cells - abs(shift) for shift in range(-(size // 2), size // 2 + 1)) for cells in (64, 62)]
        cases[f"{size}x{size} depthwise convolution, C = 96, 64x62"] = (
            partial(torch.conv2d, image, kernel, padding=size // 2, groups=96),
            2 * bench.batch * 96 * pairs[0] * pairs[1],
        )
    rows = []
    for what, (case, operations) in cases.items():
        seconds = _turns({"torch": _no_grad(case)}, bench.device)
        (row,) = _rows(what, "", seconds, {})
        rows.append((*row[:-1], operations / float(np.median(seconds["torch"])) / 1e9))
    return rows


def _turns(cases: dict[str, Case], device: torch.device) -> dict[str, np.ndarray]:
    """Seconds of each case, by round, after one call each that does not count."""
    for case in cases.values():
        case()
    seconds, failed = take_turns(cases, device, 0.0)
    if failed:
        raise RuntimeError(failed)
    return seconds


def _rows(what: str, positions: str, seconds: dict[str, np.ndarray], peers: dict[str, str]) -> list[tuple]:
    rows = []
    for name, values in seconds.items():
        peer = peers.get(name, "")
        ratio = float(np.median(np.median(seconds[peer]) / values)) if peer else ""
        if peer and len(seconds[peer]) == len(values):
            ratio = float(np.median(seconds[peer] / values))
        low, high = np.quantile(values, (0.25, 0.75))
        rows.append(
            (what, positions, name, len(values), float(np.median(values)), float(low), float(high), peer, ratio, "")
        )
        print(
            f"{what} | {positions} | {name}: {1000 * np.median(values):.1f} ms"
            + (f", {ratio:.3g} x {peer}" if peer else ""),
            flush=True,
        )
    return rows


def _pair(channels: int, positions: str, device: torch.device) -> tuple[Dcls2d, nn.Module]:
    torch.manual_seed(0)
    dcls = FULL_SIZE[MODELS[0]].model.dcls
    assert dcls is not None
    size = dcls.dilated_kernel_size
    arguments = {
        "kernel_count": dcls.kernel_count,
        "dilated_kernel_size": size,
        "padding": size // 2,
        "groups": channels,
    }
    ours = Dcls2d(channels, channels, **arguments, version="gauss")
    _place(ours, positions)
    ours.to(device)
    return ours, published_like(ours)


def _place(model: nn.Module, positions: str) -> None:
    if positions == "spread":
        for name, parameter in model.named_parameters():
            if name.rpartition(".")[2] == "P":
                nn.init.uniform_(parameter, -11, 11)


def full_size_model(name: str, positions: str, bench: Bench) -> nn.Module:
    torch.manual_seed(0)
    model = build_model(FULL_SIZE[name].model, 527)
    _place(model, positions)
    return model.to(bench.device, memory_format=torch.channels_last)  # type: ignore[call-overload]


def step_of(model: nn.Module, inputs: Tensor, what: str) -> Case:
    if what == "eval":
        model.eval()
        return _no_grad(lambda: model(inputs))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6)

    def step() -> None:
        model.train()
        optimizer.zero_grad(set_to_none=True)
        model(inputs).square().mean().backward()
        optimizer.step()

    return step


def _no_grad(case: Case) -> Case:
    def run() -> object:
        with torch.no_grad():
            return case()

    return run


def peak_memory(implementation: str, device: torch.device) -> int:
    """Bytes by which one dense kernel with 768 channels, forward and backward, raises the peak.

    On a GPU that of the tensors, elsewhere the process's (Linux).
    """
    ours, published = _pair(CHANNELS[-1], "spread", device)
    kernel = ours.kernel if implementation == "ours" else partial(published_kernel, published)
    gc.collect()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        kernel().sum().backward()
        return torch.cuda.max_memory_allocated(device) - before
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again at what is in use now
    before = _resident("VmRSS")
    kernel().sum().backward()
    return _resident("VmHWM") - before


def _resident(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return 1024 * int(line.split()[1])
    raise KeyError(name)


def _child(implementation: str) -> str:
    """Memory is measured in a process of its own, which has not allocated anything larger before."""
    command = [sys.executable, "-m", "benchmarks.dcls_bench", "--memory-of", implementation]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    main()
