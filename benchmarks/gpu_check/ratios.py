"""DCLS models in turn with their baselines, in the rows of results/throughput."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace

import dcls
from benchmarks.gpu_check.check import Check, Failed
from harness.throughput import rows
from harness.throughput.condition import Condition
from harness.throughput.pairs import Pair
from harness.throughput.sweep import records_of
from harness.throughput.sweep import run as measured
from harness.throughput.verdict import of_row

COMPILED = "convnext_dcls_audio_tiny"  # the paper's pair
FILES = {"measured": "timings.csv", "rule": "timings-rule.csv"}
PRECISIONS = ("float32", "bf16", "tf32")

Job = tuple[str, list[Pair], Condition]  # how convolutions are chosen, which models, condition


def run(check: Check) -> None:
    """Time the part's jobs; each is written when it is done. Raises Failed where a row says so."""
    sys.modules["pynvml"] = None  # type: ignore[assignment]  # a second a row for its energy is worth more here
    params, machine, failures = check.params, check.machine(), []
    for convolution, pairs, condition in jobs(check, machine.label):
        dcls.use_convolution(convolution)
        for (pair, done), found in measured([(pair, condition) for pair in pairs], params, machine):
            rows.upsert(check.out / FILES[convolution], found.rows)
            if convolution == "measured":
                rows.upsert_choices(check.out / "choices.json", records_of(pair, done, found))
            status = [one["status"] for one in found.rows if one["status"] not in (rows.OK, rows.OUT_OF_MEMORY)]
            failures += [f"{pair.name}, {done.words}, {convolution}: {one}" for one in status]
            if status or check.part != "others":
                check.say(f"{pair.name}, {done.words}, {convolution}: {of_row(found.rows[1])}")
    if failures:
        raise Failed("; ".join(failures))


def jobs(check: Check, label: str) -> Iterator[Job]:
    """The most telling first."""
    plain = Condition(label, "inference", "float32", compiled=False, channels_last=True, fused=False, batch=1)
    largest, *smaller = (replace(plain, batch=batch) for batch in check.inference_batches)
    training = replace(plain, mode="training", batch=check.training_batch)
    if check.part in ("compiled", "compiled-training"):
        one = largest if check.part == "compiled" else training
        yield (
            "measured",
            [one for one in check.pairs if one.name == COMPILED],
            replace(one, precision="bf16", compiled=True),
        )
        return
    first = [replace(one, precision=precision) for one in (largest, training) for precision in ("float32", "bf16")]
    conditions = first
    if check.part == "others":
        every = [replace(one, precision=way) for one in (largest, training, *smaller) for way in PRECISIONS]
        conditions = [one for one in every if one not in first]
    for one in conditions[: 3 if check.tiny else None]:
        for convolution in FILES:
            yield convolution, check.pairs, one
