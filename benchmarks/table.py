"""The tables of dcls/README.md, made from the committed results: `python -m benchmarks.table`."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
MODELS = {"convnext": "ConvNeXt-T", "convformer": "ConvFormer-S18", "fastvit": "FastViT-SA24"}
EVAL_GOALS = {"convnext": 0.86, "convformer": 0.77, "fastvit": 0.87}  # the ratios that the paper published
TRAINING_GOALS = {"cpu": 0.70, "cuda": 0.85}
PUBLISHED_GOALS = {"eval": {"cpu": 35}, "training step": {"cpu": 15, "cuda": 5}}
KERNEL_GOALS = {"forward": {"cpu": 100}, "forward and backward": {"cpu": 50}}
PLACES = ("initial", "spread")


def table(path: Path) -> str:
    """Markdown: what was timed with which choice of convolution, elements near the centre and spread, and the goal.

    `path` is a CSV that `benchmarks.dcls_bench` wrote; its record lies beside it as JSON.
    """
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    record = json.loads(path.with_suffix(".json").read_text())
    device, memory = record["device"], record["peak_extra_memory_bytes"]
    choice = "measured" if any(one["milliseconds"] for one in record["convolutions"]) else "rule"
    lines = [
        f'| what, with `use_convolution("{choice}")` | elements near the centre | spread over the kernel | goal |',
        "|---|---:|---:|---:|",
    ]
    for what, goals in KERNEL_GOALS.items():
        cells = [_range([row for row in rows if _kernel(row, what) and row["positions"] == at]) for at in PLACES]
        lines.append(_line(f"dense kernel, {what}, against the published package", *cells, _times(goals.get(device))))
    lines.append(
        _line(
            "peak extra memory of that, 768 channels",
            "",
            f"{memory['ours'] / 2**20:.0f} of {memory['published'] / 2**20:.0f} MiB",
            "a tenth",
        )
    )
    for step, wanted in (("eval", EVAL_GOALS), ("training step", dict.fromkeys(MODELS, TRAINING_GOALS[device]))):
        for family, name in MODELS.items():
            cells = [_ratio(rows, family, step, at, "baseline") for at in PLACES]
            lines.append(_line(f"{name}, {step}, against its 7x7 baseline", *cells, f"{wanted[family]:.2f}"))
    for step, goals in PUBLISHED_GOALS.items():
        for family, name in MODELS.items():
            cell = f"{_ratio(rows, family, step, 'initial', 'published')} times"
            lines.append(_line(f"{name}, {step}, against the published package", cell, "", _times(goals.get(device))))
    return "\n".join(lines)


def clients_table(path: Path) -> str:
    """Markdown of a CSV that `benchmarks.clients_bench` wrote: a line a layer, with both ratios."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    lines = ["| models of | layer and input (batch first) | training | evaluation |", "|---|---|---:|---:|"]
    for training, evaluation in zip(rows[::2], rows[1::2], strict=True):
        cells = [f"{float(row['times_as_fast']):.3g} times" for row in (training, evaluation)]
        lines.append(f"| {training['kind']} | {training['layer']} | {cells[0]} | {cells[1]} |")
    return "\n".join(lines)


def _times(goal: int | None) -> str:
    return "" if goal is None else f"{goal} times"


def _kernel(row: dict[str, str], what: str) -> bool:
    return bool(re.fullmatch(rf"dense kernel, C = \d+, {what}", row["what"])) and row["implementation"] == "dcls"


def _range(rows: list[dict[str, str]]) -> str:
    ratios = [float(row["times_as_fast"]) for row in rows]
    return f"{min(ratios):.0f} to {max(ratios):.0f} times"


def _ratio(rows: list[dict[str, str]], family: str, step: str, positions: str, peer: str) -> str:
    (row,) = (
        row
        for row in rows
        if row["what"].startswith(f"{family}_")
        and row["what"].endswith(f", {step}")
        and (row["positions"], row["implementation"], row["peer"]) == (positions, "dcls", peer)
    )
    return f"{float(row['times_as_fast']):.2f}" if peer == "baseline" else f"{float(row['times_as_fast']):.0f}"


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    for result in sorted(RESULTS.glob("dcls-*.csv")):
        print(f"{result.name}\n\n{table(result)}\n")
    for result in sorted(RESULTS.glob("clients-*.csv")):
        print(f"{result.name}\n\n{clients_table(result)}\n")
