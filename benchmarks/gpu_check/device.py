"""What the device is, which packages are there, and the rates that bound everything else: copying and multiplying."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from functools import partial
from statistics import median

import torch

from benchmarks.gpu_check.check import Check
from harness.models.precision import AUTOCAST, exact_float32
from harness.records.provenance import hardware, versions
from harness.throughput.machine import precisions_of
from harness.throughput.rounds import timed

NEEDED = ("torch", "torchaudio", "timm", "numpy", "scipy", "h5py", "safetensors", "tqdm", "PyYAML", "huggingface-hub")
WANTED = {  # what is left out without them
    "pytest": "all tests",
    "pytest-xdist": "running tests side by side",
    "triton": "the Triton kernels",
    "dcls": "the comparison with the published package (the wheel of version 0.1.1; see --wheels)",
    "soundfile": "the tests of training",
    "soxr": "the tests of training",
    "scikit-learn": "the tests of training",
}
ROUNDS = 5


def run(check: Check) -> None:
    note_facts(check)
    note_packages(check)
    note_rates(check)


def note_facts(check: Check) -> None:
    check.note(hardware=hardware(), label=check.machine().label, threads=torch.get_num_threads())
    check.say(f"{check.machine().label}, torch {torch.__version__}")
    if not check.on_gpu:
        return
    about = torch.cuda.get_device_properties(check.device)
    check.note(
        capability=f"{about.major}.{about.minor}",
        multiprocessors=about.multi_processor_count,
        memory_bytes=about.total_memory,
        l2_bytes=about.L2_cache_size,
        cuda=torch.version.cuda,
        cudnn=torch.backends.cudnn.version(),
    )
    try:
        listing = subprocess.run(["nvidia-smi"], capture_output=True, text=True, check=False, timeout=15)
        print(listing.stdout, listing.stderr)
    except (OSError, subprocess.TimeoutExpired) as error:
        check.say(f"nvidia-smi: {error}")


def note_packages(check: Check) -> None:
    found = versions(*NEEDED, *WANTED)
    check.note(packages=found)
    for name in NEEDED:
        if found[name] is None:
            check.say(f"package {name} is missing, which the harness needs")
    for name, what in WANTED.items():
        if found[name] is None:
            check.say(f"package {name} is missing: left out is {what}")


def note_rates(check: Check) -> None:
    """Bytes a second of a copy on the device, those read and those written counted; operations of a matrix product."""
    count, side = (2**22, 256) if check.tiny or not check.on_gpu else (2**30, 8192)
    source = torch.ones(count, dtype=torch.uint8, device=check.device)
    target = torch.empty_like(source)
    bytes_per_s = 2 * count / seconds(partial(target.copy_, source), check)
    check.note(bytes_per_s=bytes_per_s)
    check.say(f"copy on the device: {bytes_per_s / 1e9:.0f} GB/s")
    rates: dict[str, float] = {}
    for precision in precisions_of(check.device):
        exact_float32(precision != "tf32")
        matrix = torch.randn(side, side, device=check.device, dtype=AUTOCAST.get(precision, torch.float32))
        rates[precision] = 2 * side**3 / seconds(partial(torch.mm, matrix, matrix), check)
        check.note(operations_per_s=rates)
    check.say("matrix product: " + ", ".join(f"{name} {rate / 1e12:.3g} TFLOP/s" for name, rate in rates.items()))


def seconds(step: Callable[[], object], check: Check) -> float:
    """Median of a few rounds, after one that does not count."""
    taken = [timed(step, check.device) for _ in range(ROUNDS + 1)]
    return median(taken[1:])
