"""Which of a preset's results are shown, read from the results themselves where params.yaml may say something else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.base import paths
from harness.base.errors import UserError
from harness.base.files import read_json
from harness.config.params import Dcls
from harness.config.systems import LINEAR_BASELINE


@dataclass(frozen=True)
class Source:
    """`kind` of data, as in params.data."""

    kind: str


@dataclass(frozen=True)
class Selection:
    """The part of the parameters that reports need, under the same names as in `Params`."""

    preset: str
    models: tuple[str, ...]
    seeds: tuple[int, ...]
    linear_baseline_seeds: tuple[int, ...]
    data: Source
    dcls: Dcls


def selection_in(folder: Path) -> Selection:
    """The models and seeds that were last compared in `folder`, which is results/PRESET of the current folder.

    Raises UserError where it is another folder, or holds no results.
    """
    if folder.resolve().parent != paths.results("").resolve():
        raise UserError(
            f"--from: {folder} is not a preset's folder in {paths.results('')}/ here; run it in the repository's root "
            f"with, say, --from {paths.results('instruments')}"
        )
    preset = folder.resolve().name
    compared = paths.results(preset) / "comparison.run.json"
    record = read_json(compared)
    try:
        models, seeds = tuple(record["models"]), tuple(record["seeds"])
        training = read_json(paths.training_results(preset, models[0], seeds[0]) / "run.json")
        linear = sorted(
            int(path.parents[1].name.rpartition("-")[2])
            for path in paths.results(preset).glob(f"runs/{LINEAR_BASELINE}-*/evaluation/evaluation.json")
        )
        return Selection(
            preset,
            models,
            seeds,
            tuple(linear),
            Source(record["parameters"]["data"]["kind"]),
            Dcls(**training["parameters"]["dcls"]),
        )
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise UserError(
            f"{compared}: does not say what was compared ({error!r}); run `compare-models` again"
        ) from error
