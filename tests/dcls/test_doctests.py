"""The examples in docstrings run, and give what they say."""

import doctest
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import dcls

MODULES = sorted(path.stem for path in Path(dcls.__file__).parent.glob("*.py") if path.stem != "__init__")


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    torch.manual_seed(0)
    failed, _ = doctest.testmod(importlib.import_module(f"dcls.{name}"))
    assert not failed


def test_all_that_is_public_is_described():
    for name in dcls.__all__:
        assert inspect.getdoc(getattr(dcls, name)), name


def test_the_reference_is_rendered(tmp_path):
    """As `make docs` renders it: every public name, with sections for parameters."""
    pytest.importorskip("pdoc", reason="pdoc is not installed")
    command = [sys.executable, "-m", "pdoc", "--docformat", "numpy", "--output-directory", str(tmp_path), "dcls"]
    done = subprocess.run(command, cwd=Path(dcls.__file__).parents[1], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "dcls.html").read_text()
    assert all(f'id="{name}"' in page for name in dcls.__all__ if not name.startswith("_"))
    assert '<h6 id="parameters">Parameters</h6>' in page
