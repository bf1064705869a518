"""What made the results, in words: data, models, training, timing, code; and where the result files disagree."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from harness.base import paths
from harness.config.systems import LINEAR_BASELINE, PAPER
from harness.records.schemas import Record, TrainingRecord
from harness.report import geometry
from harness.report.frames import Frames
from harness.report.paper_tables.numbers import so_many
from harness.report.reading import WORKING_TREE as FILES
from harness.report.run_rows import code_name

PAPER_EPOCHS = 60
PAPER_START = {"position_std": 0.5, "position_rate": 5.0}
DATA = {
    "instruments": "seeded mixtures of recorded instrument notes",
    "esc10": "ESC-10, recorded environmental sounds",
    "esc50": "ESC-50, recorded environmental sounds",
    "fsd50k": "FSD50K, recorded sound events",
    "folder": "the user's clips",
    "audioset": "AudioSet-2M",
}
RANDOM, PUBLISHED = "random", "the authors' published weights"  # what training began with
BEGUN = {"random": ", from scratch", "imagenet": ", from ImageNet weights", "published": ""}
UNLIKE_THE_PAPER = "Not the paper's experiment ({}): the published and the reproduced mAP do not compare."
NOT_TIMED = "none of these models yet, on the device that was timed last: run `python -m harness throughput`"
OF_A_MODEL = {"scale and epochs": "trained_model", "starting weights": "start", "convolution": "convolution"}
NAMED = 3  # records named where they disagree; of more, the count


@dataclass(frozen=True)
class MadeBy:
    """`facts` are (heading, sentence); `line` is all of it in one; the others are full sentences, often none."""

    line: str
    facts: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]
    disagreements: tuple[str, ...]


def made_by(frames: Frames) -> MadeBy:
    """Facts, warnings and disagreements of the files that the tables and figures are made of."""
    files = files_in_words(frames)
    trained, scored, timed = (files[files.kind == kind] for kind in ("training", "evaluation", "timing"))
    here = trained[trained.epochs != PUBLISHED]  # the others were trained by the authors
    metrics, covered = frames.runs.iloc[0], coverage(frames)
    clips, tested = f"{clips_tested(frames):,}", f"{_in_folds(frames)}{f' ({covered})' if covered else ''}"
    left_out = f" ({metrics.classes_left_out} without a positive left out)" if metrics.classes_left_out else ""
    maps = "; ".join(geometry.in_words(frames, model) for model in frames.main.values())
    facts = {
        "Data": f"preset {frames.preset} ({_all(files.data)}), test split of {clips} clips{tested} and "
        f"{metrics.classes} classes{left_out}; chance (mean prevalence) is mAP {frames.chance:.2f}%; data fingerprint "
        f"{_all(files.fingerprint)}",
        "Feature maps": maps and f"cells along frequency x time of the four stages: {maps}",
        "Trained models": _by_model(trained, "trained_model"),
        "Convolutions": _by_model(trained, "convolution"),
        "Starting weights": _by_model(trained, "start") if (trained.start != RANDOM).any() else "",
        "Training": _training(frames, here, scored),
        "Timing": f"full-size models, {_all(timed.timing)}" if len(timed) else NOT_TIMED,
        "Code": f"{_code(files)}; torch {_all(files.torch)}",
    }
    line = (
        f"{frames.preset}: {clips} test clips{tested}, {metrics.classes} classes; {_all(trained.scale)}, "
        f"{_all(trained.epochs)} on {_all((here if len(here) else scored).device)}; "
        f"{f'full-size timing on {_all(timed.device)}' if len(timed) else 'no full-size timing'}"
    )
    warnings = [UNLIKE_THE_PAPER.format("; ".join(reasons))] if (reasons := unlike_the_paper(frames)) else []
    said = tuple((heading, text) for heading, text in facts.items() if text)
    return MadeBy(line, said, tuple(warnings), tuple(_disagreements(files)))


def files_in_words(frames: Frames) -> pd.DataFrame:
    """A line a result file and a line a timing, with what made it; NaN in what does not apply to it."""
    folder = paths.results(frames.preset)
    found = []
    for file, record in frames.records.items():
        line = {"file": file.removeprefix(f"{folder}/"), **_record_in_words(record), "timing": None}
        found.append(line | (_training_in_words(record) if isinstance(record, TrainingRecord) else {}))
    for one in frames.shown_timings.itertuples():
        line = {"file": f"{one.source} ({one.model})", "kind": "timing", "code": f"revision {one.revision[:10]}"}
        line |= {"torch": one.torch, "device": one.device}
        found.append(line | {"timing": f"{one.condition}, on {one.device} (threads: {one.threads:.0f})"})
    files = pd.DataFrame(found)
    return files[files.kind != "parameters"]


def counted_by(frames: Frames) -> tuple[tuple[str, str], ...]:
    """Facts on what counted the parameters."""
    record = FILES.record(paths.results(frames.preset) / "parameters.run.json")
    return (
        ("Counted", f"full-size models: {_all(frames.parameters.convolution)}"),
        ("Code", f"{code_name(record)}; torch {record.versions['torch']}"),
    )


def coverage(frames: Frames) -> str:
    """How much of AudioSet's own eval list the test clips are; empty for other data, or where nothing is known."""
    if frames.kind != "audioset" or "test" not in frames.coverage:
        return ""
    listed, there = frames.coverage["test"]["listed"], frames.coverage["test"]["ok"]
    if not listed or there is None:
        return "share of the official eval clips unknown, no list of them was given"
    return f"{100 * there / listed:.1f}% of the {listed:,} listed eval clips"


def clips_tested(frames: Frames) -> int:
    """Clips of all the test sets of the seeds, each counted once."""
    return sum(frames.folds.values()) or int(frames.runs.clips.iloc[0])


def unlike_the_paper(frames: Frames) -> tuple[str, ...]:
    """Why the reproduced mAP does not compare with the paper's; none where all is as in the paper."""
    runs = frames.runs[frames.runs.model != LINEAR_BASELINE]
    reasons = []
    if (runs.data != "audioset").any():
        reasons.append("not AudioSet")
    if not frames.full_size:
        reasons.append("reduced models")
    epochs = sorted({int(one) for one in runs[runs.start != "published"].epochs})
    if set(epochs) - {PAPER_EPOCHS}:
        counts = ", ".join([*map(str, epochs[:-1]), so_many(epochs[-1], "epochs")])
        reasons.append(f"{counts} instead of {PAPER_EPOCHS}")
    pretrained = set(frames.published[frames.published.imagenet].model)
    if runs[runs.start == "random"].model.isin(pretrained).any():
        reasons.append("no ImageNet weights at the start")
    starts = runs[runs.model.isin(PAPER) & runs.position_std.notna() & (runs.start != "published")]
    for std, rate in sorted(set(zip(starts.position_std, starts.position_rate, strict=True))):
        if (std, rate) != tuple(PAPER_START.values()):
            reasons.append(f"first positions of standard deviation {std:g} and rate {rate:g} instead of 0.5 and 5")
    return tuple(reasons)


def _in_folds(frames: Frames) -> str:
    """` in 5 folds of 80`, where there are folds."""
    sizes = sorted(set(frames.folds.values()))
    if not sizes:
        return ""
    size = str(sizes[0]) if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    return f" in {so_many(len(frames.folds), 'folds')} of {size}"


def _training(frames: Frames, here: pd.DataFrame, scored: pd.DataFrame) -> str:
    if here.empty:
        return f"none here; scored on {_all(scored.device)}, {_all(scored.precision)}"
    seeds = f"seeds {', '.join(map(str, frames.seeds))}"
    if frames.folds:
        seeds += " (seed s tests on fold s mod 5 + 1)"
    return f"{_all(here.batch)}, {seeds}, on {_all(here.device_and_threads)}, {_all(here.precision)}"


def _code(files: pd.DataFrame) -> str:
    """The one code of all results, or that of each kind of result."""
    if files.code.nunique() == 1:
        return _all(files.code)
    return ", ".join(f"{kind} {_all(some.code)}" for kind, some in files.groupby("kind", sort=False))


def _disagreements(files: pd.DataFrame) -> Iterable[str]:
    trained = files[files.kind == "training"]
    checked = [(f"{kind} code", some, "code") for kind, some in files.groupby("kind", sort=False)]
    checked += [("data fingerprint", files, "fingerprint"), ("data settings", files, "data")]
    checked += [("training device", trained, "device"), ("timing device", files, "timing")]
    checked += [("version of torch", files, "torch"), ("batch", trained, "batch")]
    for model, some in trained.groupby("model", sort=False):  # may differ from model to model, but not between seeds
        checked += [(f"{what} of {model}", some, column) for what, column in OF_A_MODEL.items()]
    for what, some, column in checked:
        if some[column].nunique() > 1:
            named = some.groupby(column, sort=False).file.agg(list).items()
            told = (
                f"{value} in {', '.join(one) if len(one) <= NAMED else f'{len(one)} records'}" for value, one in named
            )
            yield f"The result files disagree in {what}: {'; '.join(told)}."


def _all(values: pd.Series) -> str:
    """The value that all files give, or those that they give."""
    return " | ".join(values.dropna().unique())


def _by_model(files: pd.DataFrame, column: str) -> str:
    """The value that all files give, or each with the models that it is of."""
    groups = {value: some.model.unique() for value, some in files.groupby(column, sort=False)}
    if len(groups) == 1:
        return str(next(iter(groups)))
    return "; ".join(f"{value} ({', '.join(models)})" for value, models in groups.items())


def _record_in_words(record: Record) -> dict[str, Any]:
    found = {"kind": record.kind.replace("_", " "), "code": code_name(record), "torch": str(record.versions["torch"])}
    found |= {"device": _device(record), "precision": record.precision}
    data: Any = record.parameters.get("data")
    if data:
        found["data"] = f"{DATA.get(data['kind'], data['kind'])}, {data['clip_seconds']:g} s clips"
        found["fingerprint"] = record.data_fingerprint[:12]
    return found


def _training_in_words(record: TrainingRecord) -> dict[str, Any]:
    parameters: Any = record.parameters
    model, batch, micro = parameters["model"], parameters["train"]["batch"], parameters["train"].get("micro_batch")
    scale, sizes, start = "full-size models", "", RANDOM
    if model["scale"] != "full":
        depths, widths = ("-".join(map(str, model[name])) for name in ("depths", "widths"))
        scale, sizes = "reduced models", f" (depths {depths}, widths {widths})"
    if model["start"] != "random":
        start = f"{record.start['source']}, SHA-256 {str(record.start['sha256'])[:12]}"
    count = parameters["schedule"]["epochs"]
    epochs = PUBLISHED if model["start"] == "published" else so_many(count, "epochs")
    return {
        "model": record.model,
        "scale": scale,
        "epochs": epochs,
        "trained_model": f"{scale}{sizes}, {epochs}{BEGUN[model['start']]}",
        "start": start,
        "convolution": _convolution(model),
        "batch": f"batch {batch}{f' in micro-batches of {micro}' if micro not in (None, batch) else ''}",
        "device_and_threads": _device(record) + (f" (threads: {record.threads})" if record.device == "cpu" else ""),
    }


def _device(record: Record) -> str:
    return "CPU" if record.device == "cpu" else record.device


def _convolution(model: dict[str, Any]) -> str:
    """Of parameters.model."""
    if not model["dcls"]:
        return f"{model['kernel_size']}x{model['kernel_size']}"
    dcls = model["dcls"]
    side, rate = dcls["dilated_kernel_size"], dcls["position_rate"]
    how = f"std {dcls['position_std']:g}, {f'rate {rate:g}' if rate else 'fixed'}"
    return f"DCLS {dcls['kernel_count']} in {side}x{side}, {dcls['version']}, {how}"
