"""The mAP of every run, with its interval: what the means of table 1 are means of."""

from __future__ import annotations

import pandas as pd

from harness.data.clips.splits import folds_of
from harness.report.frames import Frames
from harness.report.made_by import MadeBy
from harness.report.paper_tables.numbers import NONE
from harness.report.paper_tables.table import Table, View, cells_from

COLUMNS = ("model", "seed", "fold", "test_clips", "map", "map_low", "map_high")


def per_seed(frames: Frames, by: MadeBy) -> Table:
    """A row a run of the models and of the linear baseline: mAP in percent; `fold` is empty where there are none."""
    runs = frames.runs.assign(run=[f"{one.model}-{one.seed}" for one in frames.runs.itertuples()])
    fold = {seed: next(iter(folds_of("test", seed))) if frames.folds else "" for seed in runs.seed.unique()}

    def asked_for(lines: pd.DataFrame) -> dict[str, object]:
        one = lines.iloc[0]
        return {"model": one.model, "seed": one.seed, "fold": fold[one.seed]}

    cells = pd.concat([cells_from(runs, "run", (), asked_for), cells_from(runs, "run", ["metrics_file"], _scores)])
    header = ("model", *(", ".join(filter(None, (fold[seed], f"seed {seed}"))) for seed in frames.seeds))
    text = runs.assign(text=[_in_a_cell(one) for one in runs.itertuples()]).pivot(
        index="model", columns="seed", values="text"
    )
    text = text.reindex(index=runs.model.unique(), columns=list(frames.seeds), fill_value=NONE).fillna(NONE)
    caption = "Test mAP in percent (95% interval over clips) by seed"
    return Table(
        name="per_seed",
        title="Test mAP in percent by seed",
        cells=cells,
        columns=COLUMNS,
        views=(View(caption, header, tuple(text.itertuples(name=None))),),
        facts=(("Results", by.line),),
        warnings=by.warnings,
    )


def _scores(lines: pd.DataFrame) -> dict[str, object]:
    one = lines.iloc[0]
    return {"test_clips": one.clips, "map": 100 * one.mAP, "map_low": 100 * one.mAP_low, "map_high": 100 * one.mAP_high}


def _in_a_cell(one: object) -> str:
    return f"{100 * one.mAP:.2f} ({100 * one.mAP_low:.2f} to {100 * one.mAP_high:.2f})"  # type: ignore[attr-defined]
