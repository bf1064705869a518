"""ImageNet weights as a start: from a file saved by timm's own models, and from a real Hugging Face cache."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch
from torch import Tensor

from harness.base.errors import UserError
from harness.base.files import sha256_of
from harness.config.systems import PAPER, Model
from harness.models.build import TIMM_NAMES, build_model, start_weights
from tests.conftest import FULL_SIZE, MODELS, ROOT

OWN = {  # what the paper swaps: stem convolution (FastViT: stem), classifier; in DCLS models the replaced layers
    "convnext": r"stem\.0\.|head\.fc\.",
    "convformer": r"stem\.conv\.|head\.fc\.fc2\.",
    "fastvit": r"stem\.|head\.fc\.",
}
REPLACED = {
    "convnext": r"|stages\.\d\.blocks\.\d\.conv_dw\.",
    "convformer": r"|stages\.\d\.blocks\.\d\.token_mixer\.dwconv\.",
    "fastvit": r"|stages\.\d\.blocks\.\d+\.mlp\.conv\.conv\.|stages\.3\.pos_emb\.pos_enc\.",
}
SMALL = "convformer_dcls_audio_s18"


def imagenet(family: str) -> dict[str, Tensor]:
    """An image model's tensors, all of them drawn, so that none equals an initial value."""
    torch.manual_seed(1)
    with torch.device("meta"):
        state = timm.create_model(TIMM_NAMES[family]).state_dict()
    return {
        key: torch.randn(value.shape) if value.is_floating_point() else torch.full(value.shape, 7)
        for key, value in state.items()
    }


def settings(weights: Path | None, name: str = SMALL) -> Model:
    return FULL_SIZE[name].model_copy(update={"start": "imagenet", "weights": weights and str(weights)})


@pytest.mark.parametrize("family", TIMM_NAMES)
def test_every_tensor_of_the_backbone_is_the_files(tmp_path: Path, family: str) -> None:
    given = imagenet(family)
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(given, path)
    for name in (model for model in MODELS if PAPER[model][0] == family):
        model = build_model(FULL_SIZE[name], 20)
        before = {key: value.clone() for key, value in model.state_dict().items()}
        record = start_weights(model, settings(path, name))
        own = re.compile(OWN[family] + (REPLACED[family] if bool(PAPER[name][1]) else ""))
        after = model.state_dict()
        for key, value in after.items():
            assert torch.equal(value, before[key] if own.match(key) else given[key]), key
        kept = sum(bool(own.match(key)) for key in after)
        assert 0 < kept < len(after) and record == {
            "start": "imagenet",
            "source": str(path),
            "sha256": sha256_of(path),
            "tensors_loaded": len(after) - kept,
            "tensors_own": kept,
        }


def test_nothing_is_loaded_or_drawn_that_was_not_asked_for(tmp_path: Path) -> None:
    torch.manual_seed(3)
    model = build_model(settings(tmp_path / "no such file.pth"), 20)
    state = torch.get_rng_state()
    assert start_weights(model, FULL_SIZE[SMALL]) == {"start": "random"}
    torch.save(imagenet(PAPER[SMALL][0]), tmp_path / "weights.pth")
    torch.set_rng_state(state)
    start_weights(model, settings(tmp_path / "weights.pth"))
    assert torch.equal(torch.get_rng_state(), state)
    with pytest.raises(ValueError, match="'published' is no start"):
        start_weights(model, FULL_SIZE[SMALL].model_copy(update={"start": "published"}))


def test_positions_in_the_file_are_taken(tmp_path: Path) -> None:
    torch.manual_seed(4)
    given = build_model(FULL_SIZE[SMALL], 1000).state_dict()
    given = {key: value.contiguous() for key, value in given.items()}
    torch.save({"model": given}, tmp_path / "weights.pth")
    model = build_model(FULL_SIZE[SMALL], 20)
    record = start_weights(model, settings(tmp_path / "weights.pth"))
    key = "stages.2.blocks.3.token_mixer.dwconv"
    for part in ("weight", "P", "SIG"):
        assert torch.equal(model.state_dict()[f"{key}.{part}"], given[f"{key}.{part}"])
    assert record["tensors_own"] == 3  # stem.conv.weight, and the classifier's weight and bias


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state: state.pop("stages.1.blocks.0.norm1.weight"), r"1 missing \(stages\.1\.blocks\.0\.norm1\.weight"),
        (lambda state: state.update(more=torch.zeros(1)), r"1 left over \(more\)"),
        (lambda state: state.update({"head.norm.bias": torch.zeros(7)}), r"head\.norm\.bias is \(7,\), not \(512,\)"),
        (lambda state: (state.clear(), state.update(imagenet("convnext"))), r"\d+ missing .*; \d+ left over"),
    ],
)
def test_another_models_file_is_refused_and_changes_nothing(tmp_path: Path, change: object, said: str) -> None:
    state = imagenet(PAPER[SMALL][0])
    change(state)  # type: ignore[operator]
    torch.save(state, tmp_path / "weights.pth")
    model = build_model(FULL_SIZE[SMALL], 20)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(UserError, match=rf"weights\.pth: not ImageNet weights of timm's convformer_s18: .*{said}"):
        start_weights(model, settings(tmp_path / "weights.pth"))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


FROM_HUB = """
import json, os
from harness.base.errors import UserError
from harness.models.build import build_model, start_weights
from tests.conftest import FULL_SIZE
from tests.test_start_weights import SMALL
model = build_model(FULL_SIZE[SMALL], 20)
try:
    start_weights(model, FULL_SIZE[SMALL].model_copy(update={"start": "imagenet"}))
except UserError as error:
    print(error)
os.rename("prepared", "hub")
print(json.dumps(start_weights(model, FULL_SIZE[SMALL].model_copy(update={"start": "imagenet"}))))
"""


def test_offline_one_clear_line_or_the_hubs_own_cache(tmp_path: Path) -> None:
    repository = tmp_path / "prepared" / "models--timm--convformer_s18.sail_in1k"
    (repository / "snapshots" / "0123abc").mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0123abc")
    path = repository / "snapshots" / "0123abc" / "model.safetensors"
    safetensors.torch.save_file(imagenet("convformer"), path)
    expected = sha256_of(path)
    nowhere = {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]}
    run = subprocess.run(
        [sys.executable, "-c", FROM_HUB], cwd=tmp_path, env=nowhere, capture_output=True, text=True, timeout=120
    )
    line, record = run.stdout.splitlines()
    assert line.startswith("timm/convformer_s18.sail_in1k: ImageNet weights missing")
    assert "name a file of them by the system's model.weights" in line
    assert json.loads(record)["source"] == "timm/convformer_s18.sail_in1k/model.safetensors"
    assert json.loads(record)["sha256"] == expected
