"""What made the results, in words: data, models, training, timing, code; and where the result files disagree."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from harness.report.load import Results
from harness.report.summary import chance

PAPER_EPOCHS = 60
DATA = {
    "instruments": "seeded mixtures of recorded instrument notes",
    "esc10": "ESC-10, recorded environmental sounds",
    "folder": "the user's clips",
    "audioset": "AudioSet-2M",
}
NAMED = 3  # files named where they disagree; of more, the count

Record = dict[str, Any]
Records = list[tuple[str, Record]]


@dataclass(frozen=True)
class MadeBy:
    """`facts` are (heading, sentence); `line` is all of it in one; the others are full sentences, often none."""

    line: str
    facts: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]
    disagreements: tuple[str, ...]


def made_by(results: Results) -> MadeBy:
    """Facts, warnings and disagreements of the files that the tables and figures are made of."""
    every = list(results.records())
    trained = [one for one in every if one[0].endswith("/run.json")]
    timed = list(results.timing_records())
    metrics = results.linear_metrics
    facts = (
        (
            "Data",
            f"preset {results.preset} ({_values(every, _data)}), test split of {metrics['clips']} clips and "
            f"{metrics['classes']} classes{_left_out(metrics)}; "
            f"chance (mean prevalence) is mAP {chance(results):.2f}%; data fingerprint {_values(every, _fingerprint)}",
        ),
        ("Trained models", f"{_by_model(results, _trained_model)}; DCLS of {_values(trained, _dcls)}"),
        (
            "Training",
            f"{_values(trained, _batch)}, seeds {', '.join(map(str, results.seeds))}, "
            f"on {_values(trained, _device_and_threads)}, {_values(trained, _precision)}",
        ),
        ("Timing", f"full-size models, {_values(timed, _timing)}"),
        ("Code", f"{_values(every + timed, _code)}; torch {_values(every + timed, _torch)}"),
    )
    line = (
        f"{results.preset}: {metrics['clips']} test clips, {metrics['classes']} classes; "
        f"{_values(trained, _short_scale)}, {_values(trained, _epochs)} on {_values(trained, _device)}; "
        f"full-size timing on {_values(timed, _device)}"
    )
    return MadeBy(
        line, facts, tuple(_warnings(results, trained)), tuple(_disagreements(results, every, trained, timed))
    )


def _warnings(results: Results, trained: Records) -> Iterable[str]:
    """Why the reproduced mAP does not compare with the paper's; none where all is as in the paper."""
    reasons = []
    if any(record["parameters"]["preset"] != "audioset" for _, record in trained):
        reasons.append("not AudioSet")
    if any(record["parameters"]["model"]["scale"] != "full" for _, record in trained):
        reasons.append("reduced models")
    epochs = {record["parameters"]["model"]["epochs"] for _, record in trained}
    if epochs != {PAPER_EPOCHS}:
        counts = ", ".join(map(str, sorted(epochs)))
        reasons.append(f"{counts} epoch{'' if counts == '1' else 's'} instead of {PAPER_EPOCHS}")
    scratch = [
        model
        for model in results.models
        if results.published[model].imagenet and not results.runs[model][0].training["parameters"]["model"]["imagenet"]
    ]
    if scratch:
        reasons.append("no ImageNet weights at the start")
    if reasons:
        yield f"Not the paper's experiment ({'; '.join(reasons)}): the published and the reproduced mAP do not compare."


def _disagreements(results: Results, every: Records, trained: Records, timed: Records) -> Iterable[str]:
    for what, records, value in (
        ("code revision", every + timed, _code),
        ("data fingerprint", every, _fingerprint),
        ("data settings", every, _data),
        ("training device", trained, _device),
        ("timing device", timed, _timing),
        ("version of torch", every + timed, _torch),
        ("batch", trained, _batch),
        *_settings_of_models(results, trained),
        ("DCLS settings", trained + timed, _dcls),
    ):
        if len(_groups(records, value)) > 1:
            yield f"The result files disagree in {what}: {_listed(records, value)}."


def _settings_of_models(results: Results, trained: Records) -> Iterable[tuple[str, Records, Callable[[Record], str]]]:
    """Epochs and sizes may differ from backbone to backbone, but not between the seeds of a model."""
    for model in results.models:
        yield f"scale and epochs of {model}", [one for one in trained if one[1]["model"] == model], _trained_model


def _groups(records: Records, value: Callable[[Record], str]) -> dict[str, list[str]]:
    """Files by the value that their record gives, in order of appearance."""
    groups: dict[str, list[str]] = {}
    for name, record in records:
        groups.setdefault(value(record), []).append(name)
    return groups


def _values(records: Records, value: Callable[[Record], str]) -> str:
    """The value that all records give, or those that they give."""
    return " | ".join(_groups(records, value))


def _by_model(results: Results, value: Callable[[Record], str]) -> str:
    """The value that all training records give, or each with the models that it is of."""
    groups = _groups([(model, run.training) for model in results.models for run in results.runs[model]], value)
    if len(groups) == 1:
        return next(iter(groups))
    return "; ".join(f"{one} ({', '.join(dict.fromkeys(models))})" for one, models in groups.items())


def _listed(records: Records, value: Callable[[Record], str]) -> str:
    return "; ".join(
        f"{one} in {', '.join(names) if len(names) <= NAMED else f'{len(names)} files'}"
        for one, names in _groups(records, value).items()
    )


def _data(record: Record) -> str:
    data = record["parameters"]["data"]
    return f"{DATA.get(data['kind'], data['kind'])}, {data['clip_seconds']:g} s clips"


def _fingerprint(record: Record) -> str:
    return record["data_fingerprint"][:12]


def _left_out(metrics: dict[str, Any]) -> str:
    count = metrics["classes_left_out"]
    return f" ({count} without a positive left out)" if count else ""


def _short_scale(record: Record) -> str:
    return "full-size models" if record["parameters"]["model"]["scale"] == "full" else "reduced models"


def _trained_model(record: Record) -> str:
    model = record["parameters"]["model"]
    size = "full-size models"
    if model["scale"] != "full":
        size = f"reduced models (depths {_dashed(model['depths'])}, widths {_dashed(model['widths'])})"
    return f"{size}, {_epochs(record)}, from {'ImageNet weights' if model['imagenet'] else 'scratch'}"


def _dcls(record: Record) -> str:
    dcls = record["parameters"]["dcls"]
    size = dcls["dilated_kernel_size"]
    return f"{dcls['kernel_count']} elements in {size}x{size}, {dcls['version']}"


def _dashed(numbers: list[int]) -> str:
    return "-".join(map(str, numbers))


def _epochs(record: Record) -> str:
    count = record["parameters"]["model"]["epochs"]
    return f"{count} epoch{'s' if count > 1 else ''}"


def _batch(record: Record) -> str:
    return f"batch {record['parameters']['train']['batch']}"


def _device(record: Record) -> str:
    return "CPU" if record["device"] == "cpu" else record["device"]


def _device_and_threads(record: Record) -> str:
    threads = f" (threads: {record['threads']})" if record["device"] == "cpu" else ""
    return f"{_device(record)}{threads}"


def _precision(record: Record) -> str:
    return record["precision"]


def _timing(record: Record) -> str:
    on = _device(record)
    if record["device"] == "cpu":
        on += f" ({record['hardware']['processor']}, threads: {record['threads']})"
    batches = record["parameters"]["throughput"]["batches"]
    return f"{batches} batches of {record['input_shape'][0]}, {record['precision']}, on {on}"


def _code(record: Record) -> str:
    code = record["code"]
    if code["revision"] is None:
        return "not from a Git checkout"
    return f"revision {code['revision'][:10]}{' with uncommitted changes' if code['dirty'] else ''}"


def _torch(record: Record) -> str:
    return str(record["versions"]["torch"])
