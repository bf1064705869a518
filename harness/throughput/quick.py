"""`harness throughput --quick`: the ratio table of all pairs in under a minute, printed and not kept."""

from __future__ import annotations

import csv
import sys

from tqdm import tqdm

import dcls
from harness.base import paths
from harness.base.errors import UserError
from harness.base.files import read_text
from harness.config.params import Params
from harness.config.systems import PAPER
from harness.throughput import verdict
from harness.throughput.condition import plain_conditions
from harness.throughput.machine import this_machine
from harness.throughput.pair import measure
from harness.throughput.pairs import pairs
from harness.throughput.rows import INTERVAL, OK

SECONDS = 8.0  # of timed rounds a pair


def quick(params: Params) -> None:
    """Time float32 inference of one clip, eager and channels_last, and print ratio, interval, noise and verdict."""
    machine, published = this_machine(), _published_ratios()
    dcls.use_convolution("measured")
    (condition,) = plain_conditions(machine.label, (1,), ())
    lines = [("model", "clips/s", "paper", "here", "95% interval", "noise", "in words")]
    for pair in tqdm(pairs(params), unit="pair", disable=not sys.stderr.isatty()):
        row = measure(pair.model, pair.baseline, condition, params, machine, SECONDS).rows[1]
        lines.append((pair.name, *_numbers(row, published.get(pair.name))))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    print(f"DCLS / baseline, {condition.words}, on {machine.label}, threads: {machine.made_by['threads']}")
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _published_ratios() -> dict[str, float]:
    """The paper's, by DCLS model. Raises UserError where its table is not as committed."""
    rows = csv.DictReader(read_text(paths.PUBLISHED).splitlines())
    try:
        published = {row["model"]: float(row["throughput_samples_per_s"]) for row in rows}
        return {name: published[name] / published[other] for name, (_, other) in PAPER.items() if other}
    except (KeyError, ValueError, TypeError) as error:
        raise UserError(f"{paths.PUBLISHED}: {error!r}; restore the file from Git") from error


def _numbers(row: dict[str, object], published: float | None) -> tuple[str, ...]:
    paper = "-" if published is None else f"{published:.2f}"
    if row["status"] != OK or row["ratio_to_baseline"] is None:
        return ("-", paper, "-", "-", "-", verdict.of_row(row))
    ratio, low, high = (float(str(row[f"ratio_to_baseline{end}"])) for end in INTERVAL)
    noise = None if row["no_difference_below"] is None else float(str(row["no_difference_below"]))
    return (
        f"{float(str(row['throughput'])):.3g}",
        paper,
        f"{ratio:.2f}",
        f"{low:.2f} to {high:.2f}",
        "-" if noise is None else f"{noise:.2f}",
        verdict.in_words(ratio, low, high, noise),
    )
