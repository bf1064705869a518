"""The throughput stage: a full-size model timed against its counterpart, alternating in one process."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from harness import paths
from harness.files import read_json, write_json
from harness.models import FULL_SIZE, build_model, device_name, device_of, parameter_count
from harness.params import Params
from harness.provenance import as_plain, provenance
from harness.systems import CLASS_COUNTS, baseline_of, is_dcls
from harness.training.precision import exact_float32

INPUT = (1, 128, 1001)


def counterpart_of(model_name: str) -> str:
    """The baseline of a DCLS model, the DCLS model of a baseline."""
    if is_dcls(model_name):
        return baseline_of(model_name)
    family, rest = model_name.split("_", 1)
    return f"{family}_dcls_{rest}"


def throughput(params: Params, model_name: str) -> None:
    """Time eval-mode forward passes of 128x1001 inputs, after a warm-up; write medians and quartiles.

    Model and counterpart, with 527 and with 1000 classes, take turns batch by batch, so that what else the machine does
    meets all of them alike; ratios are medians over rounds.
    """
    device = device_of()
    exact_float32()
    variants = {
        (name, classes): _prepare(name, classes, params, device)
        for classes in CLASS_COUNTS
        for name in (model_name, counterpart_of(model_name))
    }
    torch.manual_seed(0)
    inputs = torch.randn(params.throughput.batch, *INPUT, device=device).contiguous(memory_format=torch.channels_last)
    seconds = _alternate(variants, inputs, params.throughput.warmup, params.throughput.batches, model_name)
    rows = {
        str(classes): {
            "parameters": parameter_count(variants[model_name, classes]),
            "throughput": params.throughput.batch / float(np.median(seconds[model_name, classes])),
            "throughput_low": params.throughput.batch / float(np.quantile(seconds[model_name, classes], 0.75)),
            "throughput_high": params.throughput.batch / float(np.quantile(seconds[model_name, classes], 0.25)),
            "speed_relative_to_counterpart": float(
                np.median(seconds[counterpart_of(model_name), classes] / seconds[model_name, classes])
            ),
        }
        for classes in CLASS_COUNTS
    }
    folder = paths.results(params.preset) / "throughput"
    write_json(folder / f"{model_name}.json", {"classes": rows})
    write_json(
        folder / f"{model_name}.run.json",
        provenance(
            "throughput",
            {"dcls": as_plain(params.dcls), "throughput": as_plain(params.throughput)},
            data_fingerprint="random input",
            device=device_name(device),
            model=model_name,
            counterpart=counterpart_of(model_name),
            scale="full",
            input_shape=[params.throughput.batch, *INPUT],
            threads=torch.get_num_threads(),
            hardware=read_json(paths.HARDWARE),
        ),
    )
    row = rows["527"]
    print(
        f"{model_name}: {row['throughput']:.2f} clips/s ({row['throughput_low']:.2f} to {row['throughput_high']:.2f})"
    )


def _prepare(name: str, classes: int, params: Params, device: torch.device) -> nn.Module:
    torch.manual_seed(0)
    model = build_model(name, FULL_SIZE, params.dcls, classes).eval()
    return model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]


@torch.inference_mode()
def _alternate(
    variants: dict[tuple[str, int], nn.Module], inputs: Tensor, warmup: int, rounds: int, name: str
) -> dict[tuple[str, int], np.ndarray]:
    """Seconds of each timed forward pass, float64 (rounds,), of every variant."""
    seconds: dict[tuple[str, int], list[float]] = {key: [] for key in variants}
    for turn in tqdm(range(warmup + rounds), unit="round", desc=name, disable=not sys.stderr.isatty()):
        for key, elapsed in _one_round(variants, inputs):
            if turn >= warmup:
                seconds[key].append(elapsed)
    return {key: np.array(values) for key, values in seconds.items()}


def _one_round(variants: dict[tuple[str, int], nn.Module], inputs: Tensor) -> Iterator[tuple[tuple[str, int], float]]:
    for key, model in variants.items():
        _synchronize(inputs.device)
        started = time.perf_counter()
        model(inputs)
        _synchronize(inputs.device)
        yield key, time.perf_counter() - started


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":  # CUDA calls return before the work is done
        torch.cuda.synchronize(device)
