"""The mAP of every run, with its interval: what the means of table 1 are means of."""

from __future__ import annotations

from typing import Any

from harness.data.clips.splits import folds_of
from harness.report.frames import Frames
from harness.report.made_by import MadeBy
from harness.report.paper_tables.numbers import NONE
from harness.report.paper_tables.table import Table, View, cells_from

COLUMNS = ("model", "seed", "fold", "test_clips", "map", "map_low", "map_high")


def per_seed(frames: Frames, by: MadeBy) -> Table:
    """A row a run of the models and of the linear baseline: mAP in percent; `fold` is empty where there are none."""
    fold = {seed: next(iter(folds_of("test", seed))) if frames.folds else "" for seed in frames.runs.seed}
    runs = frames.runs.assign(
        run=[f"{one.model}-{one.seed}" for one in frames.runs.itertuples()],
        fold=frames.runs.seed.map(fold),
        map=100 * frames.runs.mAP,
        map_low=100 * frames.runs.mAP_low,
        map_high=100 * frames.runs.mAP_high,
    )
    runs = runs.assign(text=[_in_a_cell(one) for one in runs.itertuples()], test_clips=runs.clips)
    text = runs.pivot(index="model", columns="seed", values="text")
    text = text.reindex(index=runs.model.unique(), columns=list(frames.seeds)).fillna(NONE)
    header = ("model", *(", ".join(filter(None, (fold[seed], f"seed {seed}"))) for seed in frames.seeds))
    caption = "Test mAP in percent (95% interval over clips) by seed"
    return Table(
        name="per_seed",
        title="Test mAP in percent by seed",
        cells=cells_from("run", (runs, (), COLUMNS[:3]), (runs, ["metrics_file"], COLUMNS[3:])),
        columns=COLUMNS,
        views=(View(caption, header, tuple(text.itertuples(name=None))),),
        facts=(("Results", by.line),),
        warnings=by.warnings,
    )


def _in_a_cell(one: Any) -> str:
    return f"{one.map:.2f} ({one.map_low:.2f} to {one.map_high:.2f})"
