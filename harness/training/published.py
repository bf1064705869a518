"""The authors' checkpoints: fetched, translated to our layout, and filed like a training run."""

from __future__ import annotations

import json
import re
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from harness.base import paths
from harness.base.download import download, file_name, missing, read_url, search
from harness.base.errors import UserError
from harness.base.files import sha256_of, write_csv, write_json
from harness.config.params import Params, mirror
from harness.data.clips.clips import open_clips
from harness.data.clips.labels import read_labels
from harness.models.build import build_model, parameter_count
from harness.models.device import default_device, device_name, instruction_set
from harness.models.weights import CLASSIFIERS, difference, read_checkpoint, translated
from harness.records.description import describe
from harness.records.provenance import data_fingerprint, provenance, stage_parameters, write_log
from harness.records.schemas import HISTORY
from harness.running import checkpoint
from harness.running.processes import use_threads
from harness.training import positions

ZENODO = "https://zenodo.org"
RECORD = "8370979"  # files <model>.pth, named as in the paper's table; the links elsewhere point to wrong files
CLASSES = 527
DCLS = (26, 23, "gauss")  # kernel_count, dilated_kernel_size and version of the DCLS checkpoints


def to_ours(name: str, family: str, state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """A state dict in the published layout (or ours already) under the names and shapes of `model`.

    Raises UserError, naming keys, where it is of another model or has another number of classes.
    """
    wanted = model.state_dict()
    ours = translated(family, state, model)
    classifier = f"{CLASSIFIERS[family]}.weight"
    if classifier in ours and len(ours[classifier]) != len(wanted[classifier]):
        raise UserError(f"has {len(ours[classifier])} classes, must have {len(wanted[classifier])}")
    if problem := difference(ours, wanted):
        raise UserError(f"not the weights of {name}: {problem}")
    return ours


def import_checkpoint(params: Params, file_or_url: str | None, model_name: str, seed: int = 0) -> None:
    """File a published checkpoint where the train stage files its own, so that `evaluate` and the report take it.

    From a file, a URL, or, when None, Zenodo's record of the paper. run.json says which it was, its SHA-256, and the
    epoch and options that stand in it. Raises UserError where it cannot be had, is refused, or fits neither the model,
    params.systems[model_name] nor the packed label list.
    """
    started, settings = time.perf_counter(), params.systems[model_name].model
    use_threads(params.execution.threads)
    if file_or_url is None or "://" in file_or_url:
        classes = _classes(params, model_name)  # before anything is downloaded
        path, source = _fetched(params, file_or_url, model_name)
        state, metadata = read_checkpoint(path)
    else:
        path, source = Path(file_or_url), file_or_url
        state, metadata = read_checkpoint(path)  # a file that is refused is refused whatever else is wrong
        classes = _classes(params, model_name)
    model = build_model(settings, classes)
    try:
        ours = to_ours(model_name, settings.backbone, state, model)
    except UserError as error:
        raise UserError(f"{path}: {error}; give the file of {model_name}") from error
    model.load_state_dict(ours)
    for key, tensor in model.state_dict().items():
        if not torch.equal(tensor, ours[key].to(tensor.dtype)):
            raise UserError(f"{path}: {key} is not finite, or not the same in all layers that share it; get it again")
    folder, result = paths.run(params.preset, model_name, seed), paths.training_results(params.preset, model_name, seed)
    recorded = positions.snapshot(model, 0)
    positions.write_positions(recorded, settings.dcls, folder / "positions.npz", result)
    write_csv(result / "history.csv", HISTORY, [])
    record = provenance(
        "training",
        stage_parameters(params, model_name),
        data_fingerprint(params),
        device_name(default_device()),
        instruction_set=instruction_set(default_device()),
        model=model_name,
        seed=seed,
        start={"start": "published", "source": source, "sha256": sha256_of(path), **metadata},
        processes=1,
        threads=torch.get_num_threads(),
        classes=classes,
        trained_parameters=parameter_count(model),
        convolutions="rule",
    )
    about = describe(record, read_labels(paths.packed(params.preset) / "labels.csv")).metadata()
    for name in ("model", "best"):
        checkpoint.save_weights(folder / f"{name}.safetensors", model, about)
    write_json(result / "run.json", record)
    write_log(params.preset, f"{model_name}-{seed}", time.perf_counter() - started)
    print(f"{model_name}-{seed}: published weights from {source}", flush=True)


def _classes(params: Params, model_name: str) -> int:
    """How many there are, once it is sure that published weights can be used under these parameters."""
    settings = params.systems[model_name].model
    if settings.start != "published":
        raise UserError(
            f"systems.{model_name}.model.start: is {settings.start}, must be published to take the authors' weights; "
            "`make preset NAME=audioset-checkpoints`"
        )
    dcls = settings.dcls
    if dcls and (dcls.kernel_count, dcls.dilated_kernel_size, dcls.version) != DCLS:
        raise UserError(
            f"systems.{model_name}.model.dcls: is {settings.convolution}, must be of {DCLS[0]} elements in "
            f"{DCLS[1]}x{DCLS[1]}, {DCLS[2]}, as the published weights were trained"
        )
    classes = len(open_clips(params, "test", seed=0).labels)
    if classes != CLASSES:
        raise UserError(
            f"{paths.packed(params.preset)}: has {classes} classes, the published weights have {CLASSES}; "
            "pack AudioSet's whole label list (`make preset NAME=audioset-checkpoints`, or data.label_list: audioset)"
        )
    return classes


def _fetched(params: Params, url: str | None, model_name: str) -> tuple[Path, str]:
    """The file, and where it is from: the mirror folder, the download cache (checked when it came), or the network."""
    url = url or f"{ZENODO}/records/{RECORD}/files/{model_name}.pth"
    on_zenodo = re.match(rf"{re.escape(ZENODO)}/records?/(\d+)/files/([^/?#]+)", url)
    name = file_name(url, "checkpoint.pth")
    place = f"zenodo-{on_zenodo[1]}" if on_zenodo else sha256(url.encode()).hexdigest()[:16]
    given, cached = mirror(params), paths.DOWNLOADS / place / name
    if given and (found := search([given / name])):
        return found, str(found)
    if search([cached]):
        return cached, url
    try:
        digest, size = _listed(on_zenodo[1], name) if on_zenodo else (None, None)
        download(url, cached, digest=digest, most=size)
    except OSError as error:
        instead = (
            f"put it into a folder named by data.mirror in params.yaml or by DCLS_HARNESS_MIRROR, "
            f"or name the file by systems.{model_name}.model.weights"
        )
        raise missing(name, given, cached, url, error, instead) from error
    return cached, url


def _listed(record: str, name: str) -> tuple[str, int]:
    """MD5 (`md5:...`) and size of a file, from the record's own list. Raises OSError where there is none."""
    url = f"{ZENODO}/api/records/{record}"
    try:
        files: dict[str, Any] = {file["key"]: file for file in json.loads(read_url(url))["files"]}
    except (ValueError, KeyError, TypeError) as error:
        raise OSError(f"{url} lists no files") from error
    if name not in files:
        raise OSError(f"record {record} has no {name}; it has {', '.join(files)}")
    return str(files[name]["checksum"]), int(files[name]["size"])
