"""The comparisons of systems as compare-models wrote them, held against the runs that are here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from harness.base.errors import UserError
from harness.config.systems import System
from harness.records import schemas
from harness.report.reading import Files


def checked_pairs(
    files: Files, path: Path, systems: Mapping[str, System], maps: Mapping[str, pd.Series]
) -> list[schemas.Pair]:
    """Of every system with those that it is compared with and that are here; `maps` are mAPs in [0, 1] by seed.

    Raises UserError where one is missing, or is no difference of these mAPs.
    """
    compared = {(pair.model, pair.baseline): pair for pair in files.json(path, schemas.Comparison).pairs}
    wanted = [(name, other) for name, one in systems.items() for other in one.compared_with if other in systems]
    for model, other in wanted:
        if (model, other) not in compared:
            raise UserError(f"{path}: no {model!r} against {other!r} in it; run `compare-models` again")
        expected = (maps[model] - maps[other]).to_dict()
        given = {int(seed): difference for seed, difference in compared[model, other].differences.items()}
        if set(given) != set(expected) or any(abs(given[seed] - expected[seed]) > 1e-9 for seed in given):
            raise UserError(f"{path}: {model} is of other runs than those in results; run `compare-models` again")
    return [compared[pair] for pair in wanted]
