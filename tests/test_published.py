"""The authors' checkpoints: both ways between the layouts, fetched, filed and scored."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor, nn

from harness.audio.front_end import FrontEnd
from harness.base import download, paths
from harness.base.errors import UserError
from harness.config.params import Params, load
from harness.config.systems import PAPER
from harness.data.clips.clips import open_clips
from harness.data.featurize import featurize
from harness.data.fetching.fetch import fetch
from harness.evaluation.evaluate import evaluate
from harness.models.build import build_model
from harness.predicting.weights import open_file
from harness.running.processes import World
from harness.scoring.scores import score
from harness.training import published
from harness.training.published import RECORD, import_checkpoint, to_ours
from tests.conftest import FULL_SIZE, MODELS, ROOT
from tests.https_server import Site, serve
from tests.published_layout import to_published
from tests.test_models import LAYOUTS
from tests.test_weights import as_the_authors_save

NAME = "convnext_dcls_audio_tiny"


@cache
def empty(name: str, classes: int = 527) -> nn.Module:
    with torch.device("meta"):
        return build_model(FULL_SIZE[name], classes)


@cache
def drawn(name: str) -> dict[str, Tensor]:
    """Random tensors in the published layout, shared ones shared."""
    torch.manual_seed(0)
    layout = LAYOUTS[name]
    state = {key: torch.randn(entry["shape"]) for key, entry in layout.items() if "tied_to" not in entry}
    return {key: state[entry.get("tied_to", key)] for key, entry in layout.items()}


@pytest.mark.parametrize("name", MODELS)
def test_layouts_convert_both_ways_exactly(name: str) -> None:
    model, theirs = empty(name), drawn(name)
    ours = to_ours(name, PAPER[name][0], theirs, model)
    assert {key: value.shape for key, value in ours.items()} == {
        key: value.shape for key, value in model.state_dict().items()
    }
    back = to_published(name, ours)
    assert {key: list(value.shape) for key, value in back.items()} == {
        key: entry["shape"] for key, entry in LAYOUTS[name].items()
    }
    assert all(torch.equal(back[key], theirs[key]) for key in theirs)
    again = to_ours(name, PAPER[name][0], back, model)
    assert all(torch.equal(again[key], ours[key]) for key in ours)
    assert to_ours(name, PAPER[name][0], ours, model) is ours, "what is ours already stays"


def test_other_models_and_class_counts_are_named() -> None:
    for other in set(MODELS) - {NAME}:
        with pytest.raises(UserError, match=rf"^not the weights of {NAME}: \d+ missing .*"):
            to_ours(NAME, "convnext", drawn(other), empty(NAME))
    with pytest.raises(UserError, match=r"36 missing \(stages\.0\.blocks\.0\.conv_dw\.P, .*; 18 misshapen"):
        to_ours(NAME, "convnext", drawn("convnext_audio_tiny"), empty(NAME))
    for name in MODELS:
        with pytest.raises(UserError, match="has 527 classes, must have 1000"):
            to_ours(name, PAPER[name][0], drawn(name), empty(name, 1000))


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Params]:
    """Three short clips with all of AudioSet's labels, under the parameters of preset audioset-checkpoints."""
    folder = tmp_path_factory.mktemp("packed")
    rows = ["path,labels,split"]
    random = np.random.default_rng(0)
    for number, label in enumerate(("Speech", "Flute", "Speech;Music")):
        soundfile.write(folder / f"{number}.wav", 0.1 * random.standard_normal(41_000), 32_000)
        rows.append(f"{folder}/{number}.wav,{label},test")
    (folder / "clips.csv").write_text("\n".join(rows) + "\n")
    params = load(ROOT / "presets" / "audioset-checkpoints.yaml")
    short = load(ROOT / "presets" / "folder.yaml").data
    data = short.model_copy(update={"csv": "clips.csv", "label_list": "audioset", "clip_seconds": 1.28})
    params = params.model_copy(update={"data": data, "evaluate": params.evaluate.model_copy(update={"bootstrap": 10})})
    with contextlib.chdir(folder):
        fetch(params)
        featurize(params)
    return folder, params


@pytest.fixture
def zenodo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Site, Callable[..., None]]]:
    """Zenodo's record with the files that are put there."""
    monkeypatch.setattr(download, "PAUSES", (0.01,))
    with serve(tmp_path, {}) as site:
        monkeypatch.setattr(published, "ZENODO", site.url)

        def put(name: str, content: bytes, md5: str | None = None) -> None:
            entry = {"key": name, "size": len(content), "checksum": f"md5:{md5 or hashlib.md5(content).hexdigest()}"}
            site.pages[f"/records/{RECORD}/files/{name}"] = content
            site.pages[f"/api/records/{RECORD}"] = json.dumps({"id": int(RECORD), "files": [entry]}).encode()

        yield site, put


def test_from_zenodo_to_scores(
    tmp_path: Path, packed: tuple[Path, Params], zenodo: tuple[Site, Callable[..., None]]
) -> None:
    folder, params = packed
    site, put = zenodo
    torch.manual_seed(5)
    model = build_model(FULL_SIZE[NAME], 527)
    for layer in model.modules():
        if getattr(layer, "SIG", None) is not None:
            nn.init.normal_(layer.P, 0, 2)
    as_the_authors_save(to_published(NAME, model.state_dict()), tmp_path / "theirs.pth")
    content = (tmp_path / "theirs.pth").read_bytes()
    put(f"{NAME}.pth", content)
    site.break_after = [10_000, len(content) // 2]  # the list of files, in one piece, and half of the file
    with contextlib.chdir(folder):
        import_checkpoint(params, None, NAME)
        assert site.asked == ["", "", f"bytes={len(content) // 2}-"]
        evaluate(params, NAME, 0)
        clips = open_clips(params, "test")
        expected = score(model.eval(), FrontEnd(), clips, 3, World(0, 1, torch.device("cpu")))
        with np.load(paths.predictions(params.preset, NAME, 0)) as predictions:
            np.testing.assert_allclose(predictions["scores"], expected, rtol=1e-4, atol=1e-6)
        result = paths.training_results(params.preset, NAME, 0)
        record = json.loads((result / "run.json").read_text())
        assert record["kind"] == "training" and record["trained_parameters"] == 28_221_263
        assert record["parameters"]["schedule"]["epochs"] == 0
        start = record["start"]
        assert start["source"] == f"{site.url}/records/{RECORD}/files/{NAME}.pth" and start["start"] == "published"
        assert start["sha256"] == hashlib.sha256(content).hexdigest()
        assert start["epoch"] == 59 and start["args"]["lr"] == 4e-3
        assert (result / "history.csv").read_text() == "epoch,learning_rate,train_loss,val_mAP\n"
        lines = (result / "positions.csv").read_text().splitlines()
        assert len(lines) == 5 and all(line.startswith("0,") for line in lines[1:])
        taken, about = open_file(paths.run(params.preset, NAME, 0) / "model.safetensors")
        assert list(about.labels) == clips.labels and about.model.start == "published"
        assert all(torch.equal(tensor, model.state_dict()[key]) for key, tensor in taken.state_dict().items())
        evaluation = json.loads((result.parent / "evaluation" / "evaluation.json").read_text())
        assert evaluation["parameters"]["model"] == record["parameters"]["model"]
        site.pages.clear()
        import_checkpoint(params, None, NAME)  # from the cache
        assert len(site.asked) == 3


def refused(folder: Path, params: Params, where: str | None, name: str = NAME) -> str:
    """The one line; nothing is filed."""
    with contextlib.chdir(folder):
        before = sorted(Path().rglob("*.safetensors"))
        with pytest.raises(UserError) as error:
            import_checkpoint(params, where, name, seed=9)
        assert sorted(Path().rglob("*.safetensors")) == before
        assert not paths.run(params.preset, name, 9).exists() and not paths.run_results(params.preset, name, 9).exists()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_what_zenodo_can_get_wrong(
    packed: tuple[Path, Params], zenodo: tuple[Site, Callable[..., None]], tmp_path: Path
) -> None:
    (folder, params), (_, put), name = packed, zenodo, "fastvit_audio_sa24"
    put("other.pth", b"content")
    assert "record 8370979 has no fastvit_audio_sa24.pth; it has other.pth" in refused(folder, params, None, name)
    put(f"{name}.pth", b"content", md5="0" * 32)
    assert "(what came has not the MD5 0000" in refused(folder, params, None, name)
    put(f"{name}.pth", b"<html>")
    assert f"{name}.pth: is a web page" in refused(folder, params, None, name)
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / f"{name}.pth").write_bytes(b"mirrored")
    mirrored = params.model_copy(update={"data": params.data.model_copy(update={"mirror": str(tmp_path / "mirror")})})
    assert refused(folder, mirrored, None, name).startswith(f"{tmp_path}/mirror/{name}.pth: does not load")


def test_offline_says_so_in_one_line(packed: tuple[Path, Params], monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    name = "convformer_audio_s18"
    message = refused(*packed, None, name)
    assert message.startswith(f"{name}.pth: missing; looked in the mirror (none given), the cache (.cache/downloads/")
    assert f"zenodo.org/records/8370979/files/{name}.pth" in message and "refused" in message
    assert "DCLS_HARNESS_MIRROR" in message and f"systems.{name}.model.weights" in message


def test_parameters_that_the_weights_do_not_fit(packed: tuple[Path, Params], tmp_path: Path) -> None:
    folder, params = packed
    system = params.systems[NAME]

    def changed(**changes: object) -> Params:
        model = system.model.model_copy(update=changes)
        return params.model_copy(update={"systems": {NAME: system.model_copy(update={"model": model})}})

    said = refused(folder, changed(start="random"), None)
    assert said.startswith(f"systems.{NAME}.model.start: is random, must be published")
    assert system.model.dcls is not None
    said = refused(folder, changed(dcls=system.model.dcls.model_copy(update={"version": "max"})), None)
    assert "model.dcls: is DCLS 26 in 23x23, max, must be of 26 elements in 23x23, gauss" in said
    torch.save(drawn("convnext_audio_tiny"), tmp_path / "wrong.pth")
    message = refused(folder, params, str(tmp_path / "wrong.pth"))
    assert message.startswith(
        f"{tmp_path}/wrong.pth: not the weights of {NAME}: 36 missing (stages.0.blocks.0.conv_dw.P"
    )
    untied = {key: torch.randn_like(value) for key, value in drawn(NAME).items()}
    torch.save(untied, tmp_path / "untied.pth")
    assert "not the same in all layers that share it" in refused(folder, params, str(tmp_path / "untied.pth"))


def test_the_label_list_must_be_whole(packed: tuple[Path, Params], tmp_path: Path) -> None:
    folder, params = packed
    other = params.model_copy(
        update={
            "preset": "few",
            "data": params.data.model_copy(update={"label_list": "used", "csv": f"{folder}/clips.csv"}),
        }
    )
    with contextlib.chdir(tmp_path):
        fetch(other)
        featurize(other)
    message = refused(tmp_path, other, None)
    assert message.startswith("data/packed/few: has 3 classes, the published weights have 527")
