"""Fixtures that several test files use."""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("TRITON_INTERPRET", "0" if Path("/dev/nvidiactl").exists() else "1")  # before Triton is imported

from harness.config.params import Params, load
from harness.config.systems import PAPER, Model
from harness.data.fetching.npm_files import PACKAGES, tarball

ROOT = Path(__file__).parent.parent
DATA = ROOT / "tests" / "data"
MODELS = tuple(PAPER)
SYSTEMS = load(ROOT / "presets" / "audioset.yaml").systems  # the paper's, with its start and rates
FULL_SIZE = {
    name: Model(backbone=one.model.backbone, dcls=one.model.dcls, scale="full", drop_path=0.0)
    for name, one in SYSTEMS.items()
}


def unshared(params: Any) -> Any:
    """YAML content without anchors, so that a change of one system changes no other."""
    return json.loads(json.dumps(params))


def unpack_commit(folder: Path, *names: str) -> None:
    """These files and folders of this repository into `folder`, as committed."""
    packed = subprocess.run(["git", "archive", "HEAD", *names], cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The file that takes longest first, so that processes that share the files end at about the same time."""
    items.sort(key=lambda item: item.path.name != "test_pipeline.py")


@pytest.fixture(scope="session")
def params() -> Params:
    """The default preset, as committed."""
    return load(ROOT / "presets" / "instruments.yaml")


@pytest.fixture(scope="session")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts, parameters and results as committed, since a run may have written others; of an archive, as they are."""
    if not (ROOT / ".git").exists():
        return ROOT
    folder = tmp_path_factory.mktemp("committed")
    unpack_commit(folder, "README.md", "docs", "paper_tables", "params.yaml", "presets", "results")
    return folder


@pytest.fixture(scope="session")
def tarballs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both npm tarballs: linked from a mirror or this checkout's cache if there, else downloaded."""
    folder = tmp_path_factory.mktemp("tarballs")
    cache = ROOT / ".cache" / "downloads"
    for package in PACKAGES:
        given = os.environ.get("DCLS_HARNESS_MIRROR")
        near = Path(given) if given and (Path(given) / package.tarball).is_file() else cache
        found = tarball(package, near, folder)
        if found.parent != folder:
            (folder / package.tarball).symlink_to(found.resolve())
    return folder
