"""`python -m harness`: help without heavy imports, and one line with exit status 2 for bad input."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.config.params import load
from tests.conftest import ROOT, unshared

STAGES = (
    "replay",
    "repro",
    "submit",
    "fetch",
    "featurize",
    "train",
    "import-checkpoint",
    "evaluate",
    "linear-baseline",
    "compare",
    "compare-models",
    "count-parameters",
    "throughput",
    "tables",
    "figures",
    "page",
    "show",
)
MODEL, BASELINE = "convnext_dcls_audio_tiny", "convnext_audio_tiny"
Params = dict[str, Any]


def harness(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "harness", *arguments]
    return subprocess.run(
        command, cwd=folder, env={"PYTHONPATH": str(ROOT), "PATH": ""}, capture_output=True, text=True, check=False
    )


def error_line(folder: Path, *arguments: str) -> str:
    """The one line that the command must give, on stderr, with exit status 2."""
    done = harness(folder, *arguments)
    assert done.returncode == 2 and done.stdout == "", done.stdout + done.stderr
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr
    return done.stderr


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_documents_itself(tmp_path: Path, stage: str) -> None:
    done = harness(tmp_path, stage, "--help")
    assert done.returncode == 0 and "usage: python -m harness " + stage in done.stdout
    assert stage in harness(tmp_path, "--help").stdout


def test_ctrl_c_while_torch_is_imported_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_bytes((ROOT / "presets" / "instruments.yaml").read_bytes())
    command = [sys.executable, "-X", "importtime", "-m", "harness", "train", "--model", MODEL, "--seed", "0"]
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # which a shell's background has turned off
    ) as process:
        assert process.stderr and any("| " in line and "torch." in line for line in process.stderr)
        process.send_signal(signal.SIGINT)
        said = [line for line in process.stderr if not line.startswith("import time:")]
    assert process.returncode == 130 and said == ["interrupted: run it again to go on\n"], said


def test_ctrl_c_waits_for_the_end_of_an_import(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nprint('imported')\n")
    code = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
    code += "from harness.__main__ import _imported"
    code += "\ntry:\n _imported('slow')\nexcept KeyboardInterrupt:\n print('interrupted')"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True
    )
    assert done.stdout.split() == [b"imported", b"interrupted"], done.stderr


def test_help_imports_nothing_heavy() -> None:
    heavy = {"torch", "timm", "numpy", "pandas", "matplotlib", "sklearn", "soundfile", "tqdm", "submitit", "pydantic"}
    code = f"import sys, harness.__main__; harness.__main__._parser(); print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_python_without_the_requirements_is_named() -> None:
    command = [sys.executable, "-S", "-m", "harness", "throughput"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert sys.executable in done.stderr and "has no module" in done.stderr and "make setup" in done.stderr


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "presets").glob("*.yaml")))
def test_every_preset_is_valid_and_can_be_switched_to(tmp_path: Path, name: str) -> None:
    (tmp_path / "presets").symlink_to(ROOT / "presets")
    done = harness(tmp_path, "preset", name)
    assert done.returncode == 0, done.stderr
    assert load(tmp_path / "params.yaml").preset == name


def test_the_committed_parameters_are_a_preset(committed: Path) -> None:
    presets = [path.read_bytes() for path in (committed / "presets").glob("*.yaml")]
    assert (committed / "params.yaml").read_bytes() in presets


def test_switching_does_not_lose_edits(tmp_path: Path) -> None:
    (tmp_path / "presets").symlink_to(ROOT / "presets")
    (tmp_path / "params.yaml").write_text("preset: mine\n")
    assert "has edits that no preset holds" in error_line(tmp_path, "preset", "esc10")
    assert (tmp_path / "params.yaml").read_text() == "preset: mine\n"
    assert "'escc10' is not in presets/" in error_line(tmp_path, "preset", "escc10")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda p: p["train"].update(batchh=3), "train.batchh: unknown key; did you mean 'batch'?"),
        (lambda p: p["train"].pop("batch"), "train.batch: missing"),
        (lambda p: p["train"].update(batch="many"), "train.batch: is 'many', must be a whole number"),
        (lambda p: p["train"].update(batch=0), "train.batch: is 0, must be at least 1"),
        (lambda p: p["train"].update(weight_decay=float("nan")), "train.weight_decay: is nan, must be finite"),
        (
            lambda p: p["data"].update(kind="esc5"),
            "data.kind: is 'esc5', must be one of instruments, esc10, esc50, fsd50k",
        ),
        (lambda p: p["data"].update(kind="folder"), "data.csv: missing"),
        (lambda p: p["data"].update(clip_seconds=1.0), "data.clip_seconds: is 1.0, must be at least 1.27"),
        (lambda p: p["throughput"].update(batches=[1]), "throughput.batches: unknown key; did you mean "),
        (lambda p: p["throughput"].update(training_batches=[0]), "throughput.training_batches[0]: is 0, must be at l"),
        (lambda p: p["throughput"].update(inference_batches=[]), "throughput.inference_batches: is [], must be a list"),
        (
            lambda p: p.update(models=["convnext"]),
            "systems.convnext: missing; every system in `models` needs its entry",
        ),
        (lambda p: p.update(seeds=[0, 0]), "seeds: is [0, 0], must not name one twice"),
        (lambda p: p.update(seeds=[]), "seeds: is [], must be a list with at least one value"),
        (lambda p: p.update(preset="../up"), "preset: is '../up', must be letters, digits, - and _"),
        (
            lambda p: p["systems"][MODEL]["model"]["dcls"].update(dilated_kernel_size=22),
            f"systems.{MODEL}.model.dcls.dilated_kernel_size: is 22, must be odd",
        ),
        (
            lambda p: p["systems"][MODEL]["model"].update(kernel_size=5),
            f"systems.{MODEL}.model.kernel_size: is 5 beside dcls",
        ),
        (
            lambda p: p["systems"][MODEL].update(model=p["systems"][MODEL]["model"] | {"dcls": None}),
            f"systems.{MODEL}.model.dcls: must be given, as in the paper; rename it",
        ),
        (
            lambda p: p["systems"][BASELINE].update(model=p["systems"][MODEL]["model"]),
            f"systems.{BASELINE}.model.dcls: must be null, as in the paper; rename it",
        ),
        (
            lambda p: p["systems"][MODEL].update(model=p["systems"][MODEL]["model"] | {"backbone": "fastvit"}),
            f"systems.{MODEL}.model.backbone: is fastvit, must be convnext, as in the paper",
        ),
        (
            lambda p: p["systems"][MODEL].update(compared_with=[MODEL]),
            f"systems.{MODEL}.compared_with: is '{MODEL}', must be another one of",
        ),
        (
            lambda p: p["systems"][MODEL].update(compared_with=["convnext"]),
            f"systems.{MODEL}.compared_with: is 'convnext', must be another one of",
        ),
        (
            lambda p: p["systems"].update(linear_baseline=p["systems"][MODEL]),
            "systems.linear_baseline: is 'linear_baseline', must be another name",
        ),
        (
            lambda p: p["systems"][MODEL].update(model=p["systems"][MODEL]["model"] | {"widths": [16, 16]}),
            f"systems.{MODEL}.model.widths: is [16, 16], must be four",
        ),
        (lambda p: p["systems"].pop(MODEL), f"systems.{MODEL}: missing"),
        (lambda p: p.update(train=[1]), "train: is [1], must be a mapping"),
    ],
)
def test_impossible_parameters_are_named(tmp_path: Path, change: Callable[[Params], object], said: str) -> None:
    params = unshared(yaml.safe_load((ROOT / "presets" / "instruments.yaml").read_text()))
    change(params)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    assert f"error: params.yaml: {said}" in error_line(tmp_path, "featurize")


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "params.yaml: missing"), (b"a: [", "cannot be read as YAML"), (b"\xff\xfe\x00", "cannot be read as YAML")],
)
def test_unreadable_parameters_are_named(tmp_path: Path, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / "params.yaml").write_bytes(content)
    assert said in error_line(tmp_path, "featurize")


def test_numbers_without_a_dot_are_numbers(tmp_path: Path) -> None:
    text = (ROOT / "presets" / "instruments.yaml").read_text()
    path = tmp_path / "params.yaml"
    path.write_text(text.replace("weight_decay: 0.05", "weight_decay: 5e-2"))
    assert load(path).train.weight_decay == 0.05


@pytest.mark.parametrize("stage", ["train", "evaluate"])
def test_stages_before_their_inputs_say_what_is_missing(tmp_path: Path, stage: str) -> None:
    (tmp_path / "params.yaml").write_bytes((ROOT / "presets" / "instruments.yaml").read_bytes())
    assert "data/packed/instruments" in error_line(tmp_path, stage, "--model", MODEL, "--seed", "0")
