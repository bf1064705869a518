"""Whether dvc.yaml depends on all the code that a stage runs, so that DVC never calls a stale result up to date."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from harness.records.code_closure import PLUMBING, STAGES, Tree, closure, stage_code, stage_fingerprint, working_tree
from tests.conftest import ROOT

PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


def dependencies(stage: str) -> list[str]:
    return PIPELINE[stage.replace("-", "_")]["deps"]


def test_every_stage_of_the_pipeline_is_known() -> None:
    assert {name.replace("-", "_") for name in STAGES} == set(PIPELINE)
    for name in STAGES:
        assert PIPELINE[name.replace("-", "_")]["cmd"].startswith(f"python -m harness {name}")


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_all_the_code_it_imports(stage: str) -> None:
    listed = [Path(one) for one in dependencies(stage)]
    missing = [str(path) for path in map(Path, stage_code(stage)) if not {path, *path.parents} & set(listed)]
    assert not missing, f"add to the deps of {stage} in dvc.yaml, or to PLUMBING with a reason: {', '.join(missing)}"


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_no_code_that_it_does_not_import(stage: str) -> None:
    code = [Path(path) for path in stage_code(stage)]
    for one in map(Path, dependencies(stage)):
        if one.parts[0] in ("harness", "dcls") and str(one) not in PLUMBING:
            assert any(one in {path, *path.parents} for path in code), f"{stage} imports nothing of {one}"


def test_plumbing_is_there_and_has_reasons() -> None:
    for place, reason in PLUMBING.items():
        assert (ROOT / place).exists() and len(reason.split()) > 2


def test_imports_of_every_form_are_found() -> None:
    sources = {
        "harness/__init__.py": "",
        "harness/a.py": "import harness.b\n",
        "harness/b.py": "def f():\n    from harness import c\n",
        "harness/c.py": "from harness.room.d import thing\nimport numpy\n",
        "harness/room/__init__.py": "from . import e\n",
        "harness/room/d.py": "from ..f import g\nif False:\n    from dcls import layers\n",
        "harness/room/e.py": "",
        "harness/room/unused.py": "",
        "harness/f.py": "g = 1\n",
        "dcls/__init__.py": "from .base import x\n",
        "dcls/base.py": "x = 1\n",
        "dcls/layers.py": "",
    }
    assert closure("harness.a", Tree(sources, str.encode)) == sources.keys() - {"harness/room/unused.py"}


def test_a_fingerprint_follows_the_code_and_not_the_plumbing(tmp_path: Path) -> None:
    for package in ("harness", "dcls"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    before = stage_fingerprint("linear-baseline")
    assert stage_fingerprint("linear-baseline", working_tree(tmp_path)) == before
    for path, same in (
        ("harness/base/files.py", True),
        ("harness/report/show.py", True),
        ("harness/scoring/metrics.py", False),
        ("harness/data/clips/audioset_labels.csv", False),
    ):
        content = (tmp_path / path).read_bytes()
        (tmp_path / path).write_bytes(content + b"# more\n")
        assert (stage_fingerprint("linear-baseline", working_tree(tmp_path)) == before) == same
        (tmp_path / path).write_bytes(content)
