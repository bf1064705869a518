"""The throughput stage: pairs and conditions one after the other, each kept as soon as it is measured."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from tqdm import tqdm

import dcls
from harness.base import paths
from harness.base.files import write_json
from harness.config.params import Params
from harness.records.schemas import SCHEMA_VERSION, TimedDevice, checked
from harness.throughput import rows
from harness.throughput.breakdown import write_breakdown
from harness.throughput.condition import Condition, all_conditions, plain_conditions, with_quick_baselines
from harness.throughput.device import choices_file, timings_file
from harness.throughput.machine import Machine, precisions_of, this_machine
from harness.throughput.pair import Measured, measure
from harness.throughput.pairs import Pair, pairs
from harness.throughput.verdict import of_row

SOFTWARE = tuple(name for name in rows.MADE_BY if name not in ("date", "dirty"))

Job = tuple[Pair, Condition]


def throughput(params: Params, every: bool) -> None:
    """Time every system that has a baseline with it, then where a step's time goes; write results/throughput.

    `every`: all conditions that the device has; those that this commit has measured here already are left out. Rows
    of the same architecture and condition are replaced, all others stay.
    """
    machine, batches = this_machine(), (params.throughput.inference_batches, params.throughput.training_batches)
    if every:
        conditions = all_conditions(machine.label, precisions_of(machine.device), *batches)
    else:
        conditions = plain_conditions(machine.label, *batches)
    if machine.device.type == "cpu":
        conditions = with_quick_baselines(conditions)
    timed = pairs(params)
    jobs = [(pair, condition) for condition in conditions for pair in timed]
    if every:
        jobs = _not_measured_yet(jobs, machine)
    dcls.use_convolution("measured")
    failures = 0
    for job, found in run(jobs, params, machine):
        rows.upsert(timings_file(machine.label), found.rows)
        rows.upsert_choices(choices_file(machine.label), records_of(*job, found))
        failures += sum(row["status"].startswith("failed") for row in found.rows)
    write_breakdown(params, machine)
    write_json(paths.TIMED_DEVICE, checked(TimedDevice, {"schema_version": SCHEMA_VERSION, "device": machine.label}))
    said = f"; {failures} rows failed, their status says why" if failures else ""
    print(f"{timings_file(machine.label)}: {len(timed) * len(conditions)} pairs and conditions{said}")


def run(jobs: list[Job], params: Params, machine: Machine) -> Iterator[tuple[Job, Measured]]:
    """Measure jobs in order; where one runs out of memory, half its batch is added unless it comes anyway."""
    queue, done, begun = list(jobs), 0, time.monotonic()
    with tqdm(total=len(queue), unit="pair", disable=not sys.stderr.isatty()) as bar:
        while queue:
            pair, condition = queue.pop(0)
            found = measure(pair.model, pair.baseline, condition, params, machine, params.throughput.seconds)
            half = (pair, replace(condition, batch=condition.batch // 2))
            if found.out_of_memory and condition.batch > 1 and half not in jobs:
                queue.insert(0, half)
                bar.total = done + 1 + len(queue)
            done += 1
            bar.update()
            left = tqdm.format_interval((time.monotonic() - begun) / done * len(queue))
            count = f"[{done}/{done + len(queue)}, {left} left]"
            bar.write(f"{count} {pair.name}, {condition.words}: {of_row(found.rows[1])}")
            yield (pair, condition), found


def _not_measured_yet(jobs: list[Job], machine: Machine) -> list[Job]:
    """Without those whose rows this commit measured with the same software on the same machine.

    Of changed files nobody knows what was measured: nothing is left out then.
    """
    if machine.made_by["dirty"] is not False:
        return jobs
    here = {name: rows.text(machine.made_by[name]) for name in SOFTWARE} | {"dirty": "no"}
    known = {
        tuple(row[name] for name in rows.KEY)
        for row in rows.read(timings_file(machine.label))
        if all(row[name] == value for name, value in here.items())
    }
    left = [
        (pair, condition)
        for pair, condition in jobs
        if any(tuple(rows.key_cells(one, condition).values()) not in known for one in (pair.baseline, pair.model))
    ]
    if len(left) < len(jobs):
        print(f"{len(jobs) - len(left)} of {len(jobs)} pairs and conditions: measured by this commit already, left out")
    return left


def records_of(pair: Pair, condition: Condition, found: Measured) -> list[dict[str, Any]]:
    """What choices.json keeps of them."""
    models = zip((pair.baseline, pair.model), found.choices, strict=True)
    return [rows.key_cells(model, condition) | {"choices": choices} for model, choices in models if choices]
