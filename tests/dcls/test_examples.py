"""The examples that people meet first: the script with the picture, and the ten lines of dcls/README.md."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import dcls

ROOT = Path(dcls.__file__).parent.parent
PNG = b"\x89PNG\r\n\x1a\n"


def test_learn_where_to_look(tmp_path):
    """A few steps in: a picture, and DCLS ahead of the plain convolutions, none of which it begins with."""
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    picture = tmp_path / "new" / "picture.png"
    command = [sys.executable, "-m", "examples.learn_where_to_look", "--steps", "40", "--picture", str(picture)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert picture.read_bytes().startswith(PNG)
    lines = done.stdout.splitlines()
    errors = [[float(number) for number in re.findall(r"\d\.\d{4,}", line)] for line in lines[1:4]]
    assert [line.split(",")[0] for line in lines[1:4]] == ["DCLS", "3x3", "7x7"]
    assert all(0.9 < before < 1.2 for before, _ in errors)
    assert errors[0][1] < 0.75
    assert min(errors[1][1], errors[2][1]) > 0.8
    assert lines[-1] == str(picture)


def test_learn_delays(tmp_path):
    """A third of the training: the neurons fire for their own patterns, which they do not with the first delays."""
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    picture = tmp_path / "picture.png"
    command = [sys.executable, "-m", "examples.learn_delays", "--steps", "130", "--picture", str(picture)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert picture.read_bytes().startswith(PNG)
    right, error, near = (re.findall(r"[\d.]+", line)[-2:] for line in done.stdout.splitlines()[1:4])
    assert float(right[0]) < 5 < 60 < float(right[1])
    assert float(error[1]) < float(error[0]) / 2
    assert float(near[1]) > 60 > float(near[0])


@pytest.mark.parametrize("name", ["learn_where_to_look", "learn_delays"])
def test_the_committed_picture_is_small(name):
    content = (ROOT / "examples" / f"{name}.png").read_bytes()
    assert content.startswith(PNG)
    assert len(content) < 200_000


def test_the_lines_of_the_readme():
    pytest.importorskip("timm", reason="timm is not installed")
    text = (ROOT / "dcls" / "README.md").read_text()
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL).group(1)
    names = {}
    exec(code, names)
    assert len(names["replaced"]) == 18
    assert len({id(layer.P) for layer in names["replaced"].values()}) == 4
    assert all(layer.P.grad.abs().max() > 0 for layer in names["replaced"].values())
    assert len(names["rows"]) == 36
    assert not any(isinstance(module, dcls.DclsNd) for module in names["plain"].modules())
    assert set(re.findall(r"`(Dcls\w+)`", text)) == {name for name in dcls.__all__ if name.startswith("Dcls")} - {
        "DclsNd"
    }
