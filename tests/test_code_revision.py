"""The revision in a record, and when it counts as changed."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from harness.records.git_history import code_revision

WRITTEN = ("results/a.csv", "benchmarks/results/a.csv", "paper_tables/a.md", "dvc.lock", "params.yaml")


def test_another_projects_history_and_another_users_do_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    who = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside/code.py").write_text("x = 1")
    for command in (("init", "--quiet"), ("add", "."), (*who, "commit", "--quiet", "--message", "all")):
        subprocess.run(["git", *command], check=True, cwd=tmp_path)
    monkeypatch.chdir(tmp_path / "inside")
    for _ in range(2):
        assert code_revision() == {"revision": None, "dirty": None}
    said = capsys.readouterr().err
    assert said.count("no Git history here; the repository around it is") == said.count("\n") == 1
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # Git's own way to try this without another user
    assert code_revision() == {"revision": None, "dirty": None}
    assert "belongs to another user, so that Git does not read its history; `git config" in capsys.readouterr().err


def test_what_runs_write_or_record_is_no_changed_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert code_revision() == {"revision": None, "dirty": None}
    for name in (*WRITTEN, "benchmarks/code.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("before")
    who = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    for command in (("init", "--quiet"), ("add", "."), (*who, "commit", "--quiet", "--message", "all")):
        subprocess.run(["git", *command], check=True)
    for name in WRITTEN:
        (tmp_path / name).write_text("after")
    found = code_revision()
    assert len(found["revision"]) == 40 and found["dirty"] is False
    (tmp_path / "benchmarks/code.py").write_text("after")
    assert code_revision() == found | {"dirty": True}
