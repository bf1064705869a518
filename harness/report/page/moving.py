"""Where sampled kernel elements are at each recorded epoch, for the page's slider."""

from __future__ import annotations

from typing import Any

from harness.base import paths
from harness.config.systems import is_dcls
from harness.report.load import Results, read_numbers

COLUMNS = ("epoch", "stage", "element", "row", "column")


def moving_positions(results: Results) -> list[dict[str, Any]]:
    """A run each: its name, the side of its kernels in cells, the recorded epochs, and by stage the offsets from the
    kernel's centre, along frequency and along time, [epoch][element].

    Runs that recorded no trajectories are left out. Raises UserError where a trajectories.csv is none.
    """
    found = []
    for model in filter(is_dcls, results.models):
        for run in results.runs[model]:
            path = paths.training_results(results.preset, model, run.seed) / "trajectories.csv"
            if not path.is_file():
                continue
            rows = read_numbers(path, COLUMNS)
            epochs = sorted({int(epoch) for epoch, *_ in rows})
            stages = []
            for stage in sorted({int(stage) for _, stage, *_ in rows}):
                places = {(int(row[0]), int(row[2])): (row[3], row[4]) for row in rows if row[1] == stage}
                elements = sorted({element for _, element in places})
                complete = [one for one in elements if all((epoch, one) in places for epoch in epochs)]
                along = [
                    [[round(places[epoch, one][axis], 2) for one in complete] for epoch in epochs] for axis in (0, 1)
                ]
                stages.append({"stage": stage, "frequency": along[0], "time": along[1]})
            if epochs:
                found.append(
                    {
                        "name": f"{results.published[model].backbone}, seed {run.seed}",
                        "side": run.training["parameters"]["dcls"]["dilated_kernel_size"],
                        "epochs": epochs,
                        "stages": stages,
                    }
                )
    return found
