"""What a run recorded of its DCLS kernels, as the figures need it. Runs of older code recorded less."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.audio.units import cell_size
from harness.base import paths
from harness.base.errors import UserError
from harness.report.load import Results, read_numbers, read_rows

NOT_RECORDED = "not recorded by this run"


@dataclass(frozen=True)
class Kernel:
    """A dense kernel at a recorded epoch: float64 (size, size), rows along frequency, columns along time."""

    epoch: int
    stage: int
    channel: int
    values: np.ndarray


def file_of(results: Results, model: str, seed: int, name: str) -> Path:
    return paths.training_results(results.preset, model, seed) / name


def kernel_size(results: Results, model: str) -> int:
    """Cells along a side of the dense kernel."""
    return int(results.runs[model][0].training["parameters"]["dcls"]["dilated_kernel_size"])


def is_published(results: Results, model: str) -> bool:
    """Whether the weights are the authors', which have no epochs here."""
    return bool(results.runs[model][0].training["parameters"]["model"]["start"] == "published")


def many(results: Results) -> str:
    """`, 2 seeds together`, or nothing of one."""
    return f", {len(results.seeds)} {results.repeats} together" if len(results.seeds) > 1 else ""


def cells_of(results: Results, model: str) -> dict[int, tuple[int, float]]:
    """Mel bands and milliseconds that a cell of each stage's kernels stands for; the layers' names tell the stage."""
    path = file_of(results, model, results.seeds[0], "positions.csv")
    found = {}
    for row in read_rows(path):
        place = re.search(r"stages\.(\d+)\.", row.get("layer", ""))
        stage = int(row["stage"])
        found[stage] = cell_size(int(place[1]) + 1 if place else stage)
    return found


def shares(results: Results, model: str) -> dict[tuple[int, int], np.ndarray]:
    """Percent of a stage's elements in each cell, all seeds together, float64 (size, size), by (epoch, stage).

    Rows run along frequency. Raises UserError where position_density.csv is missing or no such file.
    """
    size = kernel_size(results, model)
    counts: dict[tuple[int, int], np.ndarray] = {}
    for seed in results.seeds:
        path = file_of(results, model, seed, "position_density.csv")
        for values in read_numbers(path, ("epoch", "stage", "row", "column", "count")):
            epoch, stage, row, column, count = map(int, values)
            cells = counts.setdefault((epoch, stage), np.zeros((size, size)))
            cells[row, column] += count
    return {key: 100 * cells / cells.sum() for key, cells in counts.items()}


def paths_of_elements(results: Results, model: str) -> dict[int, np.ndarray]:
    """Where the sampled elements of the first seed were: float64 (elements, epochs, 2) by stage, row and column in
    cells from the centre. Empty where that was not recorded."""
    path = file_of(results, model, results.seeds[0], "trajectories.csv")
    if not path.exists():
        return {}
    found: dict[int, dict[int, list[tuple[float, float]]]] = {}
    for _, stage, element, row, column in read_numbers(path, ("epoch", "stage", "element", "row", "column")):
        found.setdefault(int(stage), {}).setdefault(int(element), []).append((row, column))
    try:
        return {stage: np.array(list(elements.values())) for stage, elements in found.items()}
    except ValueError as error:
        raise UserError(f"{path}: an element lacks an epoch; delete it and run its stage again") from error


def dense_kernels(results: Results, model: str) -> list[Kernel]:
    """Those of the first seed, in the order recorded. Empty where none was recorded."""
    path, size = file_of(results, model, results.seeds[0], "kernels.csv"), kernel_size(results, model)
    if not path.exists():
        return []
    try:
        return [
            Kernel(
                int(row["epoch"]),
                int(row["stage"]),
                int(row["channel"]),
                float(row["largest"]) / 999 * np.array(row["values"].split(), float).reshape(size, size),
            )
            for row in read_rows(path)
        ]
    except (KeyError, ValueError) as error:
        raise UserError(f"{path}: {error}; delete it and run its stage again") from error
