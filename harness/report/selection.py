"""Which of a preset's results are shown, read from the results themselves where params.yaml may say something else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from harness.base import paths
from harness.base.errors import UserError
from harness.config.systems import LINEAR_BASELINE, PAPER, System
from harness.records.schemas import ComparisonRecord, read_result


@dataclass(frozen=True)
class Selection:
    """The part of the parameters that reports need, under the same names as in `Params`."""

    preset: str
    models: tuple[str, ...]
    seeds: tuple[int, ...]
    linear_baseline_seeds: tuple[int, ...]
    systems: dict[str, System]


def selection_in(folder: Path) -> Selection:
    """The systems and seeds that were last compared in `folder`, which is results/PRESET of the current folder.

    Raises UserError where it is another folder, or holds no results.
    """
    if folder.resolve().parent != paths.results("").resolve():
        raise UserError(
            f"--from: {folder} is not a preset's folder in {paths.results('')}/ here; run it in the repository's root "
            f"with, say, --from {paths.results('instruments')}"
        )
    results = paths.results(folder.resolve().name)
    compared = read_result(results / "comparison.run.json", ComparisonRecord)
    scored = results.glob(f"runs/{LINEAR_BASELINE}-*/evaluation/evaluation.json")
    linear = sorted(int(path.parents[1].name.rpartition("-")[2]) for path in scored)
    try:
        systems = {name: System.model_validate(compared.parameters["systems"][name]) for name in compared.models}
    except (KeyError, TypeError, ValidationError) as error:
        said = str(error).splitlines()[0]
        raise UserError(
            f"{results / 'comparison.run.json'}: parameters.systems: {said}; run `compare-models` again"
        ) from error
    return Selection(results.name, tuple(compared.models), tuple(compared.seeds), tuple(linear), systems)


def in_order(systems: dict[str, System]) -> dict[str, System]:
    """By backbone as in the paper's table, in one first those of the paper."""
    paper, backbones = [*PAPER], [backbone for backbone, _ in PAPER.values()]
    places = {
        name: (backbones.index(one.model.backbone), paper.index(name) if name in PAPER else len(paper))
        for name, one in systems.items()
    }
    return {name: systems[name] for name in sorted(systems, key=lambda name: places[name])}
