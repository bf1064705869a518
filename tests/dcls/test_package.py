"""The distribution: what it holds and needs, and what happens beside the published package."""

import ast
import graphlib
import importlib.util
import itertools
import os
import shutil
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import dcls

DCLS = pytest.importorskip("DCLS", reason="the published package 0.1.1 is not installed")
ROOT = Path(dcls.__file__).parent.parent
OURS, THEIRS = Path(dcls.__file__).parent, Path(DCLS.__file__).parent
needs_harness = pytest.mark.skipif(
    importlib.util.find_spec("torchaudio") is None, reason="what the harness needs is not installed"
)
UNCACHED = shutil.ignore_patterns("__pycache__")


def run(code, folder, *arguments):
    """Run code in a process that finds packages in `folder` before all others, and not in the checkout."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )


DISTRIBUTIONS = {"dcls_audio": ROOT / "dcls", "dcls_audio_harness": ROOT}


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    """The wheel of each distribution, built offline, by pip, from a copy of this checkout."""
    if Version(metadata.version("setuptools")) < Version("77"):
        pytest.skip(f"setuptools {metadata.version('setuptools')} is too old to build this; `make setup` brings 81")
    copy = tmp_path_factory.mktemp("checkout")
    for name in ("pyproject.toml", "LICENSE", "README.md"):
        shutil.copy(ROOT / name, copy)
    for name in ("dcls", "harness", "tests", "benchmarks", "examples", "presets", "results", "paper_tables"):
        shutil.copytree(ROOT / name, copy / name, ignore=UNCACHED)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    command += ["--ignore-requires-python"]  # the harness needs a newer one than dcls
    for folder in DISTRIBUTIONS.values():
        built = subprocess.run(
            [*command, "./" + str(folder.relative_to(ROOT)), "--wheel-dir", "dist"],
            cwd=copy,
            capture_output=True,
            text=True,
        )
        assert built.returncode == 0, built.stdout + built.stderr
    return {path.name.partition("-")[0]: path for path in (copy / "dist").iterdir()}


@pytest.fixture(scope="module")
def unpacked(wheels, tmp_path_factory):
    """Both wheels as they would lie in site-packages."""
    folder = tmp_path_factory.mktemp("unpacked")
    assert set(wheels) == set(DISTRIBUTIONS)
    for wheel in wheels.values():
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
    return folder


def test_requires_torch_alone(unpacked):
    found = {one.metadata["Name"]: one for one in metadata.distributions(path=[str(unpacked)])}
    library, harness = found["dcls-audio"], found["dcls-audio-harness"]
    assert library.requires == ["torch>=2.5"] and library.version == dcls.__version__
    assert library.metadata["Description-Content-Type"] == "text/markdown"
    assert library.metadata.get_payload().startswith("# dcls")
    needed = {canonicalize_name(Requirement(text).name) for text in harness.requires}
    assert {"dcls-audio", "torch", "torchaudio", "timm", "soundfile"} <= needed


@pytest.mark.parametrize(("name", "package"), [("dcls_audio", "dcls"), ("dcls_audio_harness", "harness")])
def test_contents(wheels, name, package):
    """One package with its data files, the licence, and nothing else."""
    with zipfile.ZipFile(wheels[name]) as archive:
        names = [Path(name) for name in archive.namelist() if not name.endswith("/")]
    info = {one for one in names if one.parts[0].endswith(".dist-info")}
    assert any(one.name == "LICENSE" for one in info)
    copy = wheels[name].parent.parent
    expected = [
        path.relative_to(copy)
        for path in (copy / package).rglob("*")
        if path.suffix in (".py", ".csv", ".html", ".css", ".js", ".typed")
        and path.relative_to(copy / package).parts[0] != "build"  # where pip has just built
    ]
    assert sorted(set(names) - info) == sorted(expected)
    assert Path("dcls/py.typed" if package == "dcls" else "harness/data/clips/audioset_labels.csv") in expected


def test_imports_torch_alone(unpacked):
    """Beyond the standard library, `import dcls` and a forward load nothing that torch does not load."""
    code = """
import sys, torch
torch.nn.Conv2d(2, 2, 3, device="meta")  # for which torch 2.5 loads sympy
before = set(sys.modules)
import dcls
dcls.Dcls2d(2, 2, 3, dilated_kernel_size=5, groups=2)(torch.randn(1, 2, 8, 8)).sum().backward()
new = {name.partition(".")[0] for name in set(sys.modules) - before}
print(dcls.__file__)
print(*sorted(new - set(sys.stdlib_module_names) - {"torch"}))
"""
    done = run(code, unpacked)
    assert done.stdout.splitlines() == [str(unpacked / "dcls" / "__init__.py"), "dcls"], done.stderr


@needs_harness
def test_harness_of_the_wheel_finds_its_data(unpacked):
    code = """
import runpy, sys
import harness.data.fetching.npm_files, harness.data.clips.labels
print(len(harness.data.fetching.npm_files.PACKAGES), harness.data.clips.labels.__file__)
sys.argv = ["harness", "--help"]
runpy.run_module("harness", run_name="__main__")
"""
    done = run(code, unpacked)
    assert done.stdout.startswith(f"2 {unpacked}"), done.stderr
    assert "usage: python -m harness" in done.stdout


@needs_harness
def test_the_harness_requires_what_it_imports():
    """Each distribution imported anywhere in harness/, in a range that the installed version lies in."""
    import tomllib  # which Python 3.10, that dcls still runs on, has not

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    required = {canonicalize_name(r.name): r for r in map(Requirement, project["dependencies"])}
    required.pop("dcls-audio")  # of this checkout
    for name, requirement in required.items():
        assert requirement.specifier.contains(metadata.version(name)), requirement
        assert {s.operator for s in requirement.specifier} == {">=", "<"}, requirement
    modules = set()
    for path in (ROOT / "harness").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                modules |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                modules.add(node.module.partition(".")[0])
    modules -= {*sys.stdlib_module_names, "dcls", "harness"}
    modules.remove("pynvml")  # a GPU's energy is left out where it is not installed
    distributions = metadata.packages_distributions()
    imported = {canonicalize_name(distributions[module][0]) for module in modules}
    assert imported <= set(required), imported - set(required)


def test_no_import_circle():
    """Neither at the top of a module nor inside a function does a module import one that leads back to it."""
    imports = {}
    for path in OURS.glob("*.py"):
        nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
        named = [[node.module] if node.module else [a.name for a in node.names] for node in nodes if node.level == 1]
        imports[path.stem] = set(itertools.chain(*named))
    assert imports["base"] >= {"convolution", "kernels"}
    tuple(graphlib.TopologicalSorter(imports).static_order())  # raises CycleError, which names the circle


@pytest.fixture
def keeps_case(tmp_path):
    (tmp_path / "case").touch()
    if (tmp_path / "CASE").exists():
        pytest.skip("file names ignore case here")


def test_beside_the_published_package(keeps_case, tmp_path):
    """In one site-packages, and in one process: `dcls` and `DCLS` are two packages, with equal kernels."""
    shutil.copytree(OURS, tmp_path / "dcls", ignore=UNCACHED)
    shutil.copytree(THEIRS, tmp_path / "DCLS", ignore=UNCACHED)
    code = """
import DCLS, dcls, torch
from DCLS.construct.modules import Dcls2d
torch.manual_seed(0)
theirs = Dcls2d(4, 4, 3, dilated_kernel_size=7, groups=4).double()
ours = dcls.Dcls2d(4, 4, 3, dilated_kernel_size=7, groups=4, dtype=torch.float64)
ours.load_state_dict(theirs.state_dict())
difference = (ours.kernel() - theirs.DCK(theirs.weight, theirs.P, theirs.SIG)).abs().max()
print(DCLS.__file__, dcls.__file__, (difference / ours.kernel().abs().max()).item() < 1e-12)
"""
    done = run(code, tmp_path)
    files = [str(tmp_path / name / "__init__.py") for name in ("DCLS", "dcls")]
    assert done.stdout.split() == [*files, "True"], done.stderr


# a folder keeps the name that it was made with, a file the content that was written last
@pytest.mark.parametrize(
    ("folder", "packages", "imported", "says"),
    [
        ("DCLS", (THEIRS, OURS), "DCLS", "one folder where file names ignore case"),
        ("DCLS", (THEIRS, OURS), "dcls", "No module named 'dcls'"),
        ("dcls", (OURS, THEIRS, OURS), "dcls", "one folder where file names ignore case"),
        ("dcls", (OURS, THEIRS), "dcls", "cannot import name 'Dcls2d' from 'dcls'"),
    ],
    ids=["theirs, ours, import DCLS", "theirs, ours", "theirs upgraded over by ours", "ours, theirs"],
)
def test_one_folder_for_both(keeps_case, tmp_path, folder, packages, imported, says):
    """What a file system without case makes of both: one folder, and an import that fails in one line."""
    for package in packages:
        shutil.copytree(package, tmp_path / folder, dirs_exist_ok=True, ignore=UNCACHED)
    done = run(f"from {imported} import Dcls2d", tmp_path)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert "Error: " in last
    assert says in last
