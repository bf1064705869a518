"""What each option of a training changes, and what it must not."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from dcls import clamp_positions
from harness.config.params import load
from harness.models.build import build_model
from tests.training.conftest import Folder
from tests.training.processes import Nursery
from tests.training.test_processes import result_of, same_weights

SHORT = {"train__micro_batch": 6}


def trained(
    nursery: Nursery, folder: Path, model: str = "fastvit_dcls_audio_sa24"
) -> tuple[np.ndarray, dict[str, torch.Tensor]]:
    """Losses, and the weights, of a run in `folder`."""
    nursery.run(folder, "train", "--model", model, "--seed", "0")
    history, weights = result_of(folder, model)
    return history[:, 2], weights


@pytest.mark.parametrize("model", ["fastvit_dcls_audio_sa24", "convformer_audio_s18", "convnext_dcls_audio_tiny"])
@pytest.mark.parametrize(
    "option",
    [
        "train__activation_checkpointing=true",
        "train__channels_last=false",
        "execution__workers=2",
        "execution__threads=2",
    ],
)
def test_what_changes_nothing_but_rounding(nursery: Nursery, new_folder: Folder, option: str, model: str) -> None:
    key, _, value = option.partition("=")
    plain, plain_weights = trained(nursery, new_folder("plain", **SHORT), model)
    given = {"true": True, "false": False}.get(value, value)
    changed = new_folder("changed", **SHORT, **{key: int(given) if value.isdigit() else given})
    losses, weights = trained(nursery, changed, model)
    exact = key == "execution__workers"
    np.testing.assert_allclose(losses, plain, rtol=0 if exact else 2e-5)
    if exact:
        torch.testing.assert_close(weights, plain_weights, rtol=0, atol=0)
    else:  # with the running statistics of batch norm, which recomputing must not move twice
        same_weights(plain_weights, weights)


def test_one_thread_unless_the_parameters_say_more(nursery: Nursery, new_folder: Folder) -> None:
    for folder, expected in ((new_folder("plain"), 1), (new_folder("two", execution__threads=2), 2)):
        trained(nursery, folder)
        record = folder / "results/folder/runs/fastvit_dcls_audio_sa24-0/training/run.json"
        assert json.loads(record.read_text())["threads"] == expected


def test_measured_convolutions_stand_in_the_result(nursery: Nursery, new_folder: Folder) -> None:
    plain, _ = trained(nursery, new_folder("plain", **SHORT))
    folder = new_folder("measured", **SHORT, train__convolution="measured")
    losses, _ = trained(nursery, folder)
    np.testing.assert_allclose(losses, plain, rtol=2e-5)
    result = folder / "results/folder/runs/fastvit_dcls_audio_sa24-0/training/run.json"
    chosen = json.loads(result.read_text())["convolutions"]
    assert {record["operation"] for record in chosen} == {"convolution", "kernel_gradient"}
    assert all(record["backend"] in record["milliseconds"] for record in chosen)
    said = json.loads((folder.with_name("plain") / result.relative_to(folder)).read_text())
    assert said["convolutions"] == "rule"


def test_fixed_spacings_stay_where_they_began(nursery: Nursery, new_folder: Folder) -> None:
    """From the start that learned ones leave; none of them is so far out that it is brought back into its kernel."""
    name, losses = "convnext_dcls_audio_tiny", {}
    for rate in (5.0, 0.0):
        dcls = {"position_std": 1.0, "position_rate": rate}
        more = {f"systems__{name}__model__dcls__{key}": value for key, value in dcls.items()}
        folder = new_folder(f"rate {rate:g}", **SHORT, **more)
        losses[rate], _ = trained(nursery, folder, name)
        recorded = np.load(folder / "runs" / "folder" / f"{name}-0" / "positions.npz")
        every = [key for key in recorded if key.endswith(("|P", "|SIG"))]
        later = [key for key in every if not key.startswith("0|")]
        stayed = [np.array_equal(recorded[key], recorded[f"0|{key.partition('|')[2]}"]) for key in later]
        assert len(later) == 3 * (len(every) - len(later)) > 0 and set(stayed) == {rate == 0}  # 3 epochs
        result = folder / "results" / "folder" / "runs" / f"{name}-0" / "training"
        assert json.loads((result / "run.json").read_text())["parameters"]["model"]["dcls"].items() >= dcls.items()
        rows = list(csv.DictReader((result / "positions.csv").open()))
        assert {row["gradient"] != "" for row in rows if row["epoch"] != "0"} == {rate > 0}
        assert any(float(row["mean_displacement"]) > 0 for row in rows) == (rate > 0)
    assert losses[0.0][0] == pytest.approx(losses[5.0][0], rel=0.02) and losses[0.0][-1] != losses[5.0][-1]


def test_bf16_is_near_and_named(nursery: Nursery, new_folder: Folder) -> None:
    plain, _ = trained(nursery, new_folder("float32", **SHORT))
    folder = new_folder("bf16", **SHORT, train__precision="bf16")
    losses, weights = trained(nursery, folder)
    assert np.abs(losses / plain - 1).max() < 0.02 and not np.array_equal(losses, plain)
    assert all(tensor.dtype != torch.bfloat16 for tensor in weights.values())
    record = (folder / "results/folder/runs/fastvit_dcls_audio_sa24-0/training/run.json").read_text()
    assert '"precision": "bf16"' in record


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks for what only a GPU has")
@pytest.mark.parametrize("precision", ["tf32", "fp16"])
def test_a_precision_that_the_cpu_has_not_is_refused(nursery: Nursery, new_folder: Folder, precision: str) -> None:
    folder = new_folder("refused", train__precision=precision)
    said = nursery.run(folder, "train", "--model", "convnext_audio_tiny", "--seed", "0", status=2)
    assert said == (f"error: train.precision: is {precision}, which needs a CUDA GPU; make it float32 or bf16\n")


def test_the_average_is_kept_validated_and_resumed(nursery: Nursery, new_folder: Folder) -> None:
    plain, plain_weights = trained(nursery, new_folder("plain", **SHORT))
    folder = new_folder("none", **SHORT, train__ema_decay=0.0)  # an average that forgets all but the last step
    losses, weights = trained(nursery, folder)
    np.testing.assert_array_equal(losses, plain)
    torch.testing.assert_close(weights, plain_weights)
    losses, weights = trained(nursery, new_folder("slow", **SHORT, train__ema_decay=0.9))
    np.testing.assert_array_equal(losses, plain)  # the training itself does not see it
    assert not torch.equal(weights["head.fc.weight"], plain_weights["head.fc.weight"])


def test_the_average_takes_shared_positions_once(new_folder: Folder) -> None:
    """Layers of a stage share P; an average that took it once a layer would decay too fast."""
    name = "convnext_dcls_audio_tiny"
    system = load(new_folder("any") / "params.yaml").systems[name]
    torch.manual_seed(0)
    model = build_model(system.model.model_copy(update={"depths": (3, 1, 1, 1)}), 3)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.75), use_buffers=True)
    expected = {}
    for step in range(4):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += torch.randn_like(parameter)
        clamp_positions(model)
        average.update_parameters(model)
        for key, parameter in model.named_parameters():
            old = expected.get(key, parameter.detach().clone())
            expected[key] = parameter.detach().clone() if step == 0 else 0.75 * old + 0.25 * parameter.detach()
    found = dict(average.module.named_parameters())
    assert found.keys() == expected.keys()
    for key, tensor in expected.items():
        torch.testing.assert_close(found[key], tensor)


@pytest.mark.slow
def test_compiled_is_the_same_but_for_rounding(nursery: Nursery, new_folder: Folder) -> None:
    plain, _ = trained(nursery, new_folder("plain", **SHORT))
    losses, weights = trained(nursery, new_folder("compiled", **SHORT, train__compile=True))
    np.testing.assert_allclose(losses, plain, rtol=1e-4)
    assert not any("_orig_mod" in name for name in weights)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float32", "tf32", "bf16", "fp16"])
def test_on_a_gpu_the_same_twice_and_near_the_cpu(
    nursery: Nursery, new_folder: Folder, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    options = SHORT | {"train__precision": precision, "train__deterministic": True}
    first, weights = trained(nursery, new_folder("first", **options))
    again, same = trained(nursery, new_folder("again", **options))
    np.testing.assert_array_equal(first, again)
    torch.testing.assert_close(weights, same, rtol=0, atol=0)
    folder = new_folder("cpu", **SHORT)
    started = nursery.start(
        folder, "train", "--model", "fastvit_dcls_audio_sa24", "--seed", "0", CUDA_VISIBLE_DEVICES=""
    )
    assert started.wait() == 0
    on_cpu = result_of(folder, "fastvit_dcls_audio_sa24")[0][:, 2]
    np.testing.assert_allclose(first, on_cpu, rtol=1e-4 if precision == "float32" else 0.02)
