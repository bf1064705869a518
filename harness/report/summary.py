"""The numbers of the table: one row a model, and the rule by which a difference is put into words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from harness.config.systems import LINEAR_BASELINE, baseline_of, is_dcls
from harness.report.load import Published, Results, Run

RULE = (
    "A DCLS model is called higher or lower than its baseline only where the 95% interval of the mAP difference leaves "
    "out 0. It is paired: by seed, and by clip, since every draw of the bootstrap (bias-corrected) takes the same test "
    "clips for both models and for all seeds that share them. Each arm is the root of the summed squares of Student's "
    "t interval over the seeds' differences and of the arm of the bootstrap interval of their mean. One seed alone "
    "decides nothing but for these weights, by the clips."
)
FOLDS_RULE = (
    "The seeds test on folds, and the bootstrap draws within each fold. The choice of clips then counts twice, in the "
    "folds' differences and in the bootstrap, which makes the interval too wide; that the folds share training clips, "
    "which makes Student's t interval too narrow, is left out."
)


@dataclass(frozen=True)
class Row:
    """A row of table1.csv, full precision; None where there is no such number.

    mAP in percent, times in clips/s, 95% intervals of medians as _low and _high; `speed_ratio_*` is DCLS over baseline.
    The seeds' 95% bootstrap intervals over clips reach from `map_intervals_lowest` to `map_intervals_highest`, all
    together.
    """

    model: str
    backbone: str | None = None
    method: str | None = None
    kernel_size_published: str | None = None
    kernel_count_published: int | None = None
    kernel_size: str | None = None
    kernel_count: int | None = None
    map_published: float | None = None
    map_sd_published: float | None = None
    map_mean: float | None = None
    map_sd: float | None = None
    map_seeds: int | None = None
    map_intervals_lowest: float | None = None
    map_intervals_highest: float | None = None
    map_over_chance: float | None = None
    map_difference_published: float | None = None
    map_difference_mean: float | None = None
    map_difference_sd: float | None = None
    map_difference_seeds: int | None = None
    map_difference_low: float | None = None
    map_difference_high: float | None = None
    map_difference_clips_low: float | None = None
    map_difference_clips_high: float | None = None
    map_difference_in_words: str | None = None
    parameters_published: int | None = None
    parameters_527: int | None = None
    parameters_1000: int | None = None
    parameters_trained: int | None = None
    throughput_published: float | None = None
    throughput_527: float | None = None
    throughput_527_low: float | None = None
    throughput_527_high: float | None = None
    speed_ratio_published: float | None = None
    speed_ratio_527: float | None = None
    speed_ratio_527_low: float | None = None
    speed_ratio_527_high: float | None = None
    speed_ratio_noise: float | None = None
    speed_in_words: str | None = None
    preset: str | None = None
    data: str | None = None
    data_fingerprint: str | None = None
    clip_seconds: float | None = None
    test_clips: int | None = None
    test_classes: int | None = None
    scale: str | None = None
    depths: str | None = None
    widths: str | None = None
    start: str | None = None
    epochs: int | None = None
    batch: int | None = None
    seeds: str | None = None
    repeats: str | None = None
    training_device: str | None = None
    timing_device: str | None = None
    timing_threads: int | None = None
    timing_batch: int | None = None
    timing_precision: str | None = None
    timing_condition: str | None = None
    code_revisions: str | None = None
    code_dirty: bool | None = None


def summary(results: Results) -> list[Row]:
    """A row a model in the paper's order, then the linear baseline, then chance."""
    models = [_model_row(results, model) for model in results.models]
    return [*models, *([_linear_row(results)] if results.linear else []), _chance_row(results)]


def in_words(compared: dict[str, Any]) -> str:
    """The verdict on a pair of comparison.json; that of one seed is on its weights alone."""
    if compared["n"] > 1:
        return str(compared["verdict"])
    said = str(compared["verdict_for_these_weights"])
    return f"{said} for these weights" if said in ("higher", "lower") else said


def chance(results: Results) -> float:
    """Mean prevalence of the test labels in percent, over the runs' test sets: the mAP of scores that know nothing."""
    return 100 * fmean(run.metrics["prevalence"] for run in results.scored)


def clips_tested(results: Results) -> int:
    """Clips of all the test sets of the seeds, each counted once."""
    return sum(results.folds.values()) or int(results.scored[0].metrics["clips"])


def _model_row(results: Results, model: str) -> Row:
    published, runs, timing = results.published[model], results.runs[model], results.timings[model]
    parameters = runs[0].training["parameters"]
    settings, dcls = parameters["model"], parameters["dcls"]
    size = dcls["dilated_kernel_size"]
    records = [run.training for run in runs] + [run.evaluation for run in runs] + [timing.record]
    return Row(
        model=model,
        backbone=published.backbone,
        method=published.method,
        kernel_size_published=published.kernel_size,
        kernel_count_published=published.kernel_count,
        kernel_size=f"{size}x{size}" if is_dcls(model) else published.kernel_size,
        kernel_count=dcls["kernel_count"] if is_dcls(model) else published.kernel_count,
        map_published=published.map_mean,
        map_sd_published=published.map_std,
        map_difference_published=_published_difference(results, model),
        **_maps(runs),
        **_difference(results.compared.get(model)),
        parameters_published=round(1e6 * published.params_millions),
        parameters_527=timing.parameters[527],
        parameters_1000=timing.parameters[1000],
        parameters_trained=runs[0].training["trained_parameters"],
        throughput_published=published.throughput,
        throughput_527=timing.throughput,
        throughput_527_low=timing.low,
        throughput_527_high=timing.high,
        speed_ratio_published=published_ratio(results.published, model),
        speed_ratio_527=timing.ratio,
        speed_ratio_527_low=timing.ratio_low,
        speed_ratio_527_high=timing.ratio_high,
        speed_ratio_noise=timing.noise if is_dcls(model) else None,
        speed_in_words=timing.verdict or None,
        preset=results.preset,
        data=parameters["data"]["kind"],
        data_fingerprint=_joined(run.evaluation["data_fingerprint"] for run in runs),
        clip_seconds=parameters["data"]["clip_seconds"],
        test_clips=clips_tested(results),
        test_classes=runs[0].metrics["classes"],
        scale=settings["scale"],
        depths=_spaced(settings["depths"]),
        widths=_spaced(settings["widths"]),
        start=settings["start"],
        epochs=settings["epochs"],
        batch=parameters["train"]["batch"],
        seeds=_joined(run.seed for run in runs),
        repeats=results.repeats,
        training_device=_joined(run.training["device"] for run in runs),
        timing_device=timing.record["device"],
        timing_threads=int(timing.record["threads"]),
        timing_batch=timing.condition.batch,
        timing_precision=timing.condition.precision,
        timing_condition=timing.condition.words,
        code_revisions=_joined(record["code"]["revision"] or "unknown" for record in records),
        code_dirty=_dirty(record["code"]["dirty"] for record in records),
    )


def _linear_row(results: Results) -> Row:
    runs, records = results.linear, [run.evaluation for run in results.linear]
    return Row(
        model=LINEAR_BASELINE,
        method="logistic regression on log-mel statistics",
        **_maps(runs),
        preset=results.preset,
        data=results.kind,
        data_fingerprint=_joined(record["data_fingerprint"] for record in records),
        clip_seconds=records[0]["parameters"]["data"]["clip_seconds"],
        test_clips=clips_tested(results),
        test_classes=runs[0].metrics["classes"],
        seeds=_joined(run.seed for run in runs),
        repeats=results.repeats,
        training_device=_joined(record["device"] for record in records),
        code_revisions=_joined(record["code"]["revision"] or "unknown" for record in records),
        code_dirty=_dirty(record["code"]["dirty"] for record in records),
    )


def _chance_row(results: Results) -> Row:
    return Row(
        model="chance",
        method="mean prevalence of the test labels",
        map_mean=chance(results),
        map_over_chance=1.0,
        preset=results.preset,
        data=results.kind,
        data_fingerprint=_joined(run.evaluation["data_fingerprint"] for run in results.scored),
        test_clips=clips_tested(results),
        test_classes=results.scored[0].metrics["classes"],
    )


def _maps(runs: Sequence[Run]) -> dict[str, Any]:
    """What a row says of its runs' mAP, in percent."""
    maps = [100 * run.metrics["mAP"] for run in runs]
    return {
        "map_mean": fmean(maps),
        "map_sd": stdev(maps) if len(maps) > 1 else None,
        "map_seeds": len(maps),
        "map_intervals_lowest": 100 * min(run.metrics["mAP_low"] for run in runs),
        "map_intervals_highest": 100 * max(run.metrics["mAP_high"] for run in runs),
        "map_over_chance": fmean(run.metrics["mAP"] / run.metrics["prevalence"] for run in runs),
    }


def _difference(compared: dict[str, Any] | None) -> dict[str, Any]:
    """What a row says of DCLS minus baseline, in percent; nothing where the pair is not whole."""
    if compared is None:
        return {}
    names = ("mean", "sd", "low", "high", "clips_low", "clips_high")
    percent = {f"map_difference_{name}": None if compared[name] is None else 100 * compared[name] for name in names}
    return {**percent, "map_difference_seeds": compared["n"], "map_difference_in_words": in_words(compared)}


def _published_difference(results: Results, model: str) -> float | None:
    if not is_dcls(model):
        return None
    decimals = 2  # as published
    return round(results.published[model].map_mean - results.published[baseline_of(model)].map_mean, decimals)


def published_ratio(published: dict[str, Published], model: str) -> float | None:
    """Speed of a DCLS model over its baseline's in the paper's table; None for a baseline."""
    if not is_dcls(model):
        return None
    return published[model].throughput / published[baseline_of(model)].throughput


def _spaced(values: list[int] | None) -> str | None:
    return " ".join(map(str, values)) if values else None


def _joined(values: Iterable[object]) -> str:
    """Each value once, in order of appearance."""
    return " ".join(str(value) for value in dict.fromkeys(values))


def _dirty(flags: Iterable[bool | None]) -> bool | None:
    """True where any is; None where none says."""
    known = [flag for flag in flags if flag is not None]
    return any(known) if known else None
