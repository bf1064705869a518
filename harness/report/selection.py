"""Which of a preset's results are shown, read from the results themselves where params.yaml may say something else."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pydantic import ValidationError

from harness.base import paths
from harness.base.errors import UserError
from harness.config.systems import BACKBONES, LINEAR_BASELINE, PAPER, System
from harness.records.schemas import ComparisonRecord, read_result


@dataclass(frozen=True)
class Selection:
    """The part of the parameters that reports need, under the same names as in `Params`."""

    preset: str
    models: tuple[str, ...]
    seeds: tuple[int, ...]
    linear_baseline_seeds: tuple[int, ...]
    systems: dict[str, System]

    def backbone(self, model: str) -> str:
        return BACKBONES[self.systems[model].model.backbone]

    def method(self, model: str) -> str:
        return self.systems[model].method

    def baseline(self, model: str) -> str | None:
        """The first that it is compared with, where that is here."""
        return next((name for name in self.systems[model].compared_with[:1] if name in self.systems), None)

    @cached_property
    def by_backbone(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for model in self.models:
            found.setdefault(self.backbone(model), []).append(model)
        return found

    @cached_property
    def main(self) -> dict[str, str]:
        """By backbone the DCLS model that the others are there for: that which is compared with most of them."""
        dcls = {name: [one for one in some if self.systems[one].is_dcls] for name, some in self.by_backbone.items()}
        others = {model: len(system.compared_with) for model, system in self.systems.items()}
        return {name: max(some, key=lambda one: others[one]) for name, some in dcls.items() if some}

    def learns_spacings(self, model: str) -> bool:
        dcls = self.systems[model].model.dcls
        return dcls is not None and dcls.position_rate > 0


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

    def place(name: str) -> tuple[int, int]:
        return backbones.index(systems[name].model.backbone), paper.index(name) if name in PAPER else len(paper)

    return {name: systems[name] for name in sorted(systems, key=place)}
