"""What made the results, in words: data, models, training, timing, code; and where the result files disagree."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from harness.report.load import Results
from harness.report.summary import chance, clips_tested

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
    metrics, covered = results.scored[0].metrics, coverage(results)
    here = [one for one in trained if one[1]["parameters"]["model"]["start"] != "published"]
    scored = [one for one in every if one[1]["kind"] == "evaluation"]
    started = any(record["parameters"]["model"]["start"] != "random" for _, record in trained)
    facts = (
        (
            "Data",
            f"preset {results.preset} ({_values(every, _data)}), test split of {clips_tested(results):,} clips"
            f"{_in_folds(results)}{f' ({covered})' if covered else ''} and {metrics['classes']} "
            f"classes{_left_out(metrics)}; chance (mean prevalence) is mAP {chance(results):.2f}%; "
            f"data fingerprint {_values(every, _fingerprint)}",
        ),
        ("Trained models", f"{_by_model(results, _trained_model)}; DCLS of {_values(trained, _dcls)}"),
        *([("Starting weights", _by_model(results, _start))] if started else []),
        ("Training", _training(results, here, scored)),
        ("Timing", f"full-size models, {_values(timed, _timing)}"),
        ("Code", f"{_values(every + timed, _code)}; torch {_values(every + timed, _torch)}"),
    )
    line = (
        f"{results.preset}: {clips_tested(results):,} test clips{_in_folds(results)}"
        f"{f' ({covered})' if covered else ''}, {metrics['classes']} classes; "
        f"{_values(trained, _short_scale)}, {_values(trained, _epochs)} on {_values(here or scored, _device)}; "
        f"full-size timing on {_values(timed, _device)}"
    )
    return MadeBy(line, facts, tuple(_warnings(results)), tuple(_disagreements(results, every, trained, timed)))


def counted_by(record: Record) -> tuple[tuple[str, str], ...]:
    """Facts on what counted the parameters."""
    return (
        ("Counted", f"full-size models, DCLS of {_dcls(record)}"),
        ("Code", f"{_code(record)}; torch {_torch(record)}"),
    )


def coverage(results: Results) -> str:
    """How much of AudioSet's own eval list the test clips are; empty for other data, or where nothing is known."""
    if results.kind != "audioset" or "test" not in results.coverage:
        return ""
    listed, there = results.coverage["test"]["listed"], results.coverage["test"]["ok"]
    if not listed or there is None:
        return "share of the official eval clips unknown, no list of them was given"
    return f"{100 * there / listed:.1f}% of the {listed:,} listed eval clips"


def _in_folds(results: Results) -> str:
    """` in 5 folds of 80`, where there are folds."""
    if not results.folds:
        return ""
    fewest, most = min(results.folds.values()), max(results.folds.values())
    size = str(most) if fewest == most else f"{fewest} to {most}"
    return f" in {len(results.folds)} fold{'s' if len(results.folds) > 1 else ''} of {size}"


def _training(results: Results, here: Records, scored: Records) -> str:
    if not here:
        return f"none here; scored on {_values(scored, _device)}, {_values(scored, _precision)}"
    seeds = f"seeds {', '.join(map(str, results.seeds))}"
    if results.folds:
        seeds += " (seed s tests on fold s mod 5 + 1)"
    return f"{_values(here, _batch)}, {seeds}, on {_values(here, _device_and_threads)}, {_values(here, _precision)}"


def unlike_the_paper(results: Results) -> tuple[str, ...]:
    """Why the reproduced mAP does not compare with the paper's; none where all is as in the paper."""
    trained = [(model, run.training) for model in results.models for run in results.runs[model]]
    reasons = []
    if any(record["parameters"]["data"]["kind"] != "audioset" for _, record in trained):
        reasons.append("not AudioSet")
    if any(record["parameters"]["model"]["scale"] != "full" for _, record in trained):
        reasons.append("reduced models")
    models = [record["parameters"]["model"] for _, record in trained]
    epochs = {model["epochs"] for model in models if model["start"] != "published"}
    if epochs - {PAPER_EPOCHS}:
        counts = ", ".join(map(str, sorted(epochs)))
        reasons.append(f"{counts} epoch{'' if counts == '1' else 's'} instead of {PAPER_EPOCHS}")
    random = [model for model, record in trained if record["parameters"]["model"]["start"] == "random"]
    if any(results.published[model].imagenet for model in random):
        reasons.append("no ImageNet weights at the start")
    return tuple(reasons)


def _warnings(results: Results) -> Iterable[str]:
    reasons = unlike_the_paper(results)
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
        records = [one for one in trained if one[1]["model"] == model]
        yield f"scale and epochs of {model}", records, _trained_model
        yield f"starting weights of {model}", records, _start


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
    begun = {"random": ", from scratch", "imagenet": ", from ImageNet weights", "published": ""}[model["start"]]
    return f"{size}, {_epochs(record)}{begun}"


def _start(record: Record) -> str:
    """Where the weights that training began with came from, and which bytes they were."""
    if record["parameters"]["model"]["start"] == "random":
        return "random"
    start = record["start"]
    return f"{start['source']}, SHA-256 {start['sha256'][:12]}"


def _dcls(record: Record) -> str:
    dcls = record["parameters"]["dcls"]
    size = dcls["dilated_kernel_size"]
    return f"{dcls['kernel_count']} elements in {size}x{size}, {dcls['version']}"


def _dashed(numbers: list[int]) -> str:
    return "-".join(map(str, numbers))


def _epochs(record: Record) -> str:
    model = record["parameters"]["model"]
    if model["start"] == "published":
        return "the authors' published weights"
    return f"{model['epochs']} epoch{'s' if model['epochs'] > 1 else ''}"


def _batch(record: Record) -> str:
    train = record["parameters"]["train"]
    micro = train.get("micro_batch")
    return f"batch {train['batch']}{f' in micro-batches of {micro}' if micro not in (None, train['batch']) else ''}"


def _device(record: Record) -> str:
    return "CPU" if record["device"] == "cpu" else record["device"]


def _device_and_threads(record: Record) -> str:
    threads = f" (threads: {record['threads']})" if record["device"] == "cpu" else ""
    return f"{_device(record)}{threads}"


def _precision(record: Record) -> str:
    return record["precision"]


def _timing(record: Record) -> str:
    return f"{record['condition']}, on {record['device']} (threads: {record['threads']})"


def _code(record: Record) -> str:
    code = record["code"]
    if code["revision"] is None:
        return "not from a Git checkout"
    return f"revision {code['revision'][:10]}{' with uncommitted changes' if code['dirty'] else ''}"


def _torch(record: Record) -> str:
    return str(record["versions"]["torch"])
