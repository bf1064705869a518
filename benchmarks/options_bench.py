"""What each training option costs: time and memory of a step, and how far 20 steps of training move apart.

`make bench-options` runs it and writes benchmarks/results/options-*.csv. The options take turns, and a ratio is that of
two times of the same round; losses are those of a reduced model, times and memory those of a full-size one.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from harness.base.files import write_csv, write_json
from harness.config.params import Params, load
from harness.models.build import full_size
from harness.models.device import device_name
from harness.records.provenance import benchmark_record
from harness.running.processes import single_process
from harness.training import batches, reading
from harness.training.run import Run, new_run
from harness.training.step import optimizer_step

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
NAME, CLASSES, STEPS = "fastvit_dcls_audio_sa24", 20, 20
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "micro_batch": {"micro_batch": 2},
    "channels_last false": {"channels_last": False},
    "activation_checkpointing": {"activation_checkpointing": True},
    "bf16": {"precision": "bf16"},
    "ema_decay": {"ema_decay": 0.999},
    "deterministic": {"deterministic": True},
    "compile": {"compile": True},
}
COLUMNS = ("option", "rounds", "step_time_ratio", "low", "high", "loss_after_20_steps_relative")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=8, help="clips in a step (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds (default: %(default)s)")
    parser.add_argument("--memory-of", choices=OPTIONS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory_of:
        print(peak_memory(arguments.memory_of, arguments.batch))
        return
    times = step_times(arguments.batch, arguments.rounds)
    losses = {name: loss_after(name) for name in tqdm(OPTIONS, desc="20 steps")}
    rows = []
    for name in OPTIONS:
        ratios = [mine / plain for mine, plain in zip(times[name], times["plain"], strict=True)]
        low, _, high = statistics.quantiles(ratios, n=4)
        moved = losses[name] / losses["plain"] - 1
        numbers = [round(value, 3) for value in (statistics.median(ratios), low, high)]
        rows.append([name, arguments.rounds, *numbers, f"{moved:.1e}"])
    write("options", COLUMNS, rows, {"batch": arguments.batch, "rounds": arguments.rounds})
    write_memory(arguments.batch)


def write_memory(batch: int) -> None:
    """The memory of each option, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.options_bench", "--batch", str(batch), "--memory-of"]
    rows = []
    for name in tqdm(OPTIONS, desc="memory"):
        done = subprocess.run([*command, name], cwd=ROOT, capture_output=True, text=True, check=True)
        rows.append([name, int(done.stdout)])
    write("options-memory", ("option", "peak_extra_memory_mib"), rows, {"batch": batch})


def write(kind: str, header: Sequence[str], rows: list[list[Any]], parameters: dict[str, Any]) -> None:
    """The rows as a CSV, what made them beside it, and both on the terminal."""
    device = device_name(single_process().device)
    stem = f"{kind}-{device.replace(' ', '_')}-torch{torch.__version__.split('+')[0]}"
    write_csv(RESULTS / f"{stem}.csv", header, rows)
    parameters = parameters | {"model": NAME, "seconds": 10}
    threads = torch.get_num_threads()
    record = benchmark_record("make bench-options", parameters, device, threads=threads)
    write_json(RESULTS / f"{stem}.json", record)
    for row in (header, *rows):
        print(*row, sep="\t")


def run_of(name: str, batch: int, full: bool) -> Run:
    params = load(ROOT / "presets" / "instruments.yaml")
    train = params.train.model_copy(update={"batch": batch, "micro_batch": None, **OPTIONS[name]})
    system = params.systems[NAME]
    system = system.model_copy(update={"model": full_size(system.model)}) if full else system
    params = params.model_copy(update={"train": train, "systems": {NAME: system}})
    run, _ = new_run(params, NAME, 0, CLASSES, single_process())
    run.trainee.model.train()
    return run


def noise(params: Params, steps: int, seconds: float) -> tuple[batches.Division, Iterator[reading.RawBatch]]:
    """The same clips for every option, whatever its micro-batch."""
    train, random = params.train, np.random.default_rng(0)
    division = batches.divide(train, steps * train.batch)
    waveform = torch.from_numpy(
        0.1 * random.standard_normal((steps * train.batch, round(seconds * 32_000)), np.float32)
    )
    targets = torch.from_numpy((random.random((steps * train.batch, CLASSES)) < 0.1).astype(np.float32))
    indices = [
        range(number * division.micro_batch, (number + 1) * division.micro_batch)
        for number in range(steps * division.parts)
    ]
    raw_batches = (
        reading.RawBatch(number, list(those), waveform[those.start : those.stop], targets[those.start : those.stop])
        for number, those in enumerate(indices)
    )
    return division, raw_batches


def step_times(batch: int, rounds: int) -> dict[str, list[float]]:
    """Seconds of a full-size step of each option in each round, after one that is not timed."""
    times: dict[str, list[float]] = {name: [] for name in OPTIONS}
    runs = {name: run_of(name, batch, full=True) for name in OPTIONS}
    for turn in tqdm(range(rounds + 1), desc="rounds"):
        for name, run in runs.items():
            torch.use_deterministic_algorithms(run.params.train.deterministic)
            division, raw_batches = noise(run.params, 1, 10.0)
            started = time.perf_counter()
            optimizer_step(run, raw_batches, division, 0, 1e-4, False)
            if turn:
                times[name].append(time.perf_counter() - started)
    return times


def loss_after(name: str) -> float:
    run = run_of(name, 8, full=False)
    division, raw_batches = noise(run.params, STEPS, 1.5)
    losses = [float(np.mean(optimizer_step(run, raw_batches, division, 0, 1e-3, False)[0])) for _ in range(STEPS)]
    return losses[-1]


def peak_memory(name: str, batch: int) -> int:
    """MiB that two full-size steps add to the process, at their peak."""
    run = run_of(name, batch, full=True)
    division, raw_batches = noise(run.params, 2, 10.0)
    before = peak_kib()
    for _ in range(2):
        optimizer_step(run, raw_batches, division, 0, 1e-4, False)
    return (peak_kib() - before) // 1024


def peak_kib() -> int:
    """Of this process alone: the peak that getrusage gives begins with that of the process that started it."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])


if __name__ == "__main__":
    main()
