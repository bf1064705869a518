"""Fixtures that several test files use."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.params import Params, load

ROOT = Path(__file__).parent.parent
DATA = ROOT / "tests" / "data"


@pytest.fixture(scope="session")
def params() -> Params:
    """The default preset, as committed."""
    return load(ROOT / "presets" / "instruments.yaml")
