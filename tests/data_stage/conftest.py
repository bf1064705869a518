"""The real recordings, fetched once a test session, and folders to work in."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.config.params import Params
from harness.data.featurize import featurize
from harness.data.fetching.fetch import fetch

MakeParams = Callable[..., Params]


@pytest.fixture(scope="session")
def make(params: Params) -> MakeParams:
    """The default preset with other values under `data`, and as many bad clips as there are; `preset` may be given."""

    def with_data(preset: str = "instruments", **data: object) -> Params:
        changed = params.data.model_copy(update={"max_bad_fraction": 1.0} | data)
        return params.model_copy(update={"preset": preset, "data": changed})

    return with_data


@pytest.fixture(scope="session")
def packed(tmp_path_factory: pytest.TempPathFactory, tarballs: Path, make: MakeParams) -> Path:
    """A folder in which `instruments` is fetched and featurized."""
    folder = tmp_path_factory.mktemp("instruments")
    with contextlib.chdir(folder):
        params = make(mirror=str(tarballs))
        fetch(params)
        featurize(params)
    return folder


@pytest.fixture
def inside(packed: Path) -> Iterator[Path]:
    """Runs the test in that folder."""
    with contextlib.chdir(packed):
        yield packed
