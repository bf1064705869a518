"""Times `dcls` against the published package and the plain 7x7 baselines, taking turns in one process.

`make bench` runs it and writes benchmarks/results/*.csv. Ratios are medians over rounds of times taken in the same
round, so that what else the machine does meets both alike. Positions are timed as they start (normal(0, 0.5), near the
centre) and spread over the whole kernel, because kernels whose outer cells are empty are cheaper.
"""

from __future__ import annotations

import argparse
import gc
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from benchmarks.published import published_kernel, published_like, with_published_layers
from dcls import Dcls2d
from harness.files import write_csv, write_json
from harness.models import FULL_SIZE, build_model
from harness.params import Dcls
from harness.provenance import hardware, provenance
from harness.systems import baseline_of

RESULTS = Path(__file__).parent / "results"
SETTINGS = Dcls(kernel_count=26, dilated_kernel_size=23, version="gauss")
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=8, help="clips in a forward pass or step (default: %(default)s)")
    parser.add_argument(
        "--rounds", type=int, default=5, help="timed rounds; the published models get one (default: %(default)s)"
    )
    parser.add_argument("--memory-of", choices=("ours", "published"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory_of:
        print(peak_memory(arguments.memory_of))
        return
    rows = yardsticks(arguments.batch, arguments.rounds)
    for positions in ("initial", "spread"):
        for channels in CHANNELS:
            rows += kernels(channels, positions, arguments.rounds)
        for name in MODELS:
            rows += models(name, positions, arguments.batch, arguments.rounds)
    memory = {name: int(_child(name)) for name in ("ours", "published")}
    stem = f"dcls-cpu-{torch.get_num_threads()}threads-float32-torch{torch.__version__.split('+')[0]}"
    write_csv(RESULTS / f"{stem}.csv", COLUMNS, rows)
    record = provenance(
        "benchmark",
        {"batch": arguments.batch, "rounds": arguments.rounds},
        "random input",
        "cpu",
        threads=torch.get_num_threads(),
        hardware=hardware(),
        peak_extra_memory_bytes=memory,
    )
    write_json(RESULTS / f"{stem}.json", record)
    print(f"dense kernel, C = {CHANNELS[-1]}, forward and backward, peak extra memory: {memory}")
    print(f"{RESULTS / stem}.csv")


def kernels(channels: int, positions: str, rounds: int) -> list[tuple]:
    """The dense kernel alone, forward and forward with backward."""
    ours, published = _pair(channels, positions)
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

        seconds = take_turns({"dcls": anew, "published": theirs}, rounds)
        rows += _rows(f"dense kernel, C = {channels}, {what}", positions, seconds, {"dcls": "published"})
    return rows


def models(name: str, positions: str, batch: int, rounds: int) -> list[tuple]:
    """Full-size models, eval and training step: ours, the 7x7 baseline, and the published layers.

    Those get one round, at initial positions: it takes up to a minute, and where elements are does not matter there.
    """
    rows = []
    inputs = torch.randn(batch, *INPUT).contiguous(memory_format=torch.channels_last)
    ours, baseline = _model(name, positions), _model(baseline_of(name), positions)
    for what in ("eval", "training step"):
        peers = {"dcls": "baseline"}
        seconds = take_turns({"dcls": _case(ours, inputs, what), "baseline": _case(baseline, inputs, what)}, rounds)
        if positions == "initial":
            slow = _case(with_published_layers(_model(name, positions)), inputs, what)
            started = time.perf_counter()
            slow()
            seconds["published"] = np.array([time.perf_counter() - started])
            peers["published"] = "baseline"
            rows += _rows(f"{name}, {what}", positions, seconds, {"dcls": "published"})[:1]
        rows += _rows(f"{name}, {what}", positions, seconds, peers)
    return rows


def yardsticks(batch: int, rounds: int) -> list[tuple]:
    """What the machine can do: a matrix product, and depthwise convolutions on the first stage's map (64x62).

    `gflops` counts two operations for a multiplication and an addition, and none with the padding's zeros.
    """
    matrix = torch.randn(1024, 1024)
    image = torch.randn(batch, 96, 64, 62).contiguous(memory_format=torch.channels_last)
    cases: dict[str, tuple[Case, float]] = {"matrix product 1024x1024x1024": (lambda: matrix @ matrix, 2 * 1024**3)}
    for size in (7, 23):
        pairs = [sum(cells - abs(shift) for shift in range(-(size // 2), size // 2 + 1)) for cells in (64, 62)]
        cases[f"{size}x{size} depthwise convolution, C = 96, 64x62"] = (
            partial(torch.conv2d, image, torch.randn(96, 1, size, size), padding=size // 2, groups=96),
            2 * batch * 96 * pairs[0] * pairs[1],
        )
    rows = []
    for what, (case, operations) in cases.items():
        seconds = take_turns({"torch": _no_grad(case)}, rounds)
        (row,) = _rows(what, "", seconds, {})
        rows.append((*row[:-1], operations / float(np.median(seconds["torch"])) / 1e9))
    return rows


def take_turns(cases: dict[str, Case], rounds: int) -> dict[str, np.ndarray]:
    """Seconds of each case in each round, after one round that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for turn in tqdm(range(rounds + 1), leave=False, disable=not sys.stderr.isatty()):
        for name, case in cases.items():
            started = time.perf_counter()
            case()
            if turn:
                seconds[name].append(time.perf_counter() - started)
    return {name: np.array(values) for name, values in seconds.items()}


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


def _pair(channels: int, positions: str) -> tuple[Dcls2d, nn.Module]:
    torch.manual_seed(0)
    size = SETTINGS.dilated_kernel_size
    arguments = {
        "kernel_count": SETTINGS.kernel_count,
        "dilated_kernel_size": size,
        "padding": size // 2,
        "groups": channels,
    }
    ours = Dcls2d(channels, channels, **arguments, version="gauss")
    _place(ours, positions)
    return ours, published_like(ours)


def _place(model: nn.Module, positions: str) -> None:
    if positions == "spread":
        for name, parameter in model.named_parameters():
            if name.rpartition(".")[2] == "P":
                nn.init.uniform_(parameter, -11, 11)


def _model(name: str, positions: str) -> nn.Module:
    torch.manual_seed(0)
    model = build_model(name, FULL_SIZE, SETTINGS, 527)
    _place(model, positions)
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _case(model: nn.Module, inputs: Tensor, what: str) -> Case:
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


def peak_memory(implementation: str) -> int:
    """Bytes by which one dense kernel with 768 channels, forward and backward, raises the process's peak (Linux)."""
    ours, published = _pair(CHANNELS[-1], "spread")
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again at what is in use now
    before = _resident("VmRSS")
    (ours.kernel() if implementation == "ours" else published_kernel(published)).sum().backward()
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
