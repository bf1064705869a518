"""Which of a preset's results are shown, read from the results themselves where params.yaml may say something else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from harness.base import paths
from harness.base.errors import UserError
from harness.config.systems import LINEAR_BASELINE, System
from harness.records.schemas import ComparisonRecord, read_result


@dataclass(frozen=True)
class Selection:
    """The part of the parameters that reports need, under the same names as in `Params`."""

    preset: str
    systems: Mapping[str, System]
    models: tuple[str, ...]
    seeds: tuple[int, ...]
    linear_baseline_seeds: tuple[int, ...]


def selection_in(folder: Path) -> Selection:
    """The models and seeds that were last compared in `folder`, which is results/PRESET of the current folder.

    Raises UserError where it is another folder, or holds no results.
    """
    if folder.resolve().parent != paths.results("").resolve():
        raise UserError(
            f"--from: {folder} is not a preset's folder in {paths.results('')}/ here; run it in the repository's root "
            f"with, say, --from {paths.results('instruments')}"
        )
    results = paths.results(folder.resolve().name)
    compared = read_result(results / "comparison.run.json", ComparisonRecord)
    try:
        systems = {
            name: System.model_validate_json(json.dumps(one)) for name, one in compared.parameters["systems"].items()
        }
    except (ValidationError, KeyError, AttributeError) as error:
        path = results / "comparison.run.json"
        raise UserError(
            f"{path}: parameters.systems: {str(error).splitlines()[0]}; run `compare-models` again"
        ) from error
    scored = results.glob(f"runs/{LINEAR_BASELINE}-*/evaluation/evaluation.json")
    linear = sorted(int(path.parents[1].name.rpartition("-")[2]) for path in scored)
    return Selection(results.name, systems, tuple(compared.models), tuple(compared.seeds), tuple(linear))
