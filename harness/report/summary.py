"""The numbers of the table: one row a model, and the rule by which a difference is put into words."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean, stdev

from harness.params import baseline_of
from harness.report.load import Results, Run, Timing, is_dcls

RULE = (
    "A DCLS model is called higher or lower than its baseline only where the 95% interval of the mAP difference leaves "
    "out 0. The interval's half-width is the root of the summed squares of Student's t interval over the seeds' paired "
    "differences and of each model's widest bootstrap interval over the test clips (taken as independent though both "
    "score the same clips: too wide rather than too narrow). One seed alone decides nothing."
)


@dataclass(frozen=True)
class Difference:
    """DCLS minus baseline in percent mAP: over seeds, with the 95% interval that `words` follow from."""

    mean: float
    sd: float | None
    pairs: int
    low: float | None
    high: float | None
    words: str


@dataclass(frozen=True)
class Row:
    """A row of table1.csv, full precision; None where there is no such number.

    mAP in percent, times in clips/s, quartiles as _low and _high; `speed_ratio_*` is DCLS over baseline. The seeds' 95%
    bootstrap intervals over clips reach from `map_intervals_lowest` to `map_intervals_highest`, all together.
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
    map_difference_in_words: str | None = None
    parameters_published: int | None = None
    parameters_527: int | None = None
    parameters_1000: int | None = None
    parameters_trained: int | None = None
    throughput_published: float | None = None
    throughput_527: float | None = None
    throughput_527_low: float | None = None
    throughput_527_high: float | None = None
    throughput_1000: float | None = None
    throughput_1000_low: float | None = None
    throughput_1000_high: float | None = None
    speed_ratio_published: float | None = None
    speed_ratio_527: float | None = None
    speed_ratio_1000: float | None = None
    preset: str | None = None
    data: str | None = None
    data_fingerprint: str | None = None
    clip_seconds: float | None = None
    test_clips: int | None = None
    test_classes: int | None = None
    scale: str | None = None
    depths: str | None = None
    widths: str | None = None
    epochs: int | None = None
    batch: int | None = None
    seeds: str | None = None
    training_device: str | None = None
    timing_device: str | None = None
    timing_threads: int | None = None
    timing_batch: int | None = None
    timing_precision: str | None = None
    code_revisions: str | None = None
    code_dirty: bool | None = None


def summary(results: Results) -> list[Row]:
    """A row a model in the paper's order, then the linear baseline, then chance."""
    return [*(_model_row(results, model) for model in results.models), _linear_row(results), _chance_row(results)]


def difference(dcls: Iterable[Run], baseline: Iterable[Run]) -> Difference | None:
    """DCLS minus baseline, seeds paired; None where they share no seed. See RULE for the words."""
    pairs = [(one, other) for one in dcls for other in baseline if one.seed == other.seed]
    if not pairs:
        return None
    differences = [100 * (one.metrics["mAP"] - other.metrics["mAP"]) for one, other in pairs]
    mean = fmean(differences)
    if len(pairs) == 1:
        return Difference(mean, None, 1, None, None, words(None, None))
    sd = stdev(differences)
    over_seeds = _student(len(pairs) - 1) * sd / math.sqrt(len(pairs))
    over_clips = [max(_half_width(pair[side]) for pair in pairs) for side in (0, 1)]
    half_width = math.hypot(over_seeds, *over_clips)
    low, high = mean - half_width, mean + half_width
    return Difference(mean, sd, len(pairs), low, high, words(low, high))


def words(low: float | None, high: float | None) -> str:
    """What an interval of DCLS minus baseline says: `higher`, `lower` or `not distinguishable`."""
    if low is not None and low > 0:
        return "higher"
    if high is not None and high < 0:
        return "lower"
    return "not distinguishable"


def chance(results: Results) -> float:
    """Mean prevalence of the test labels in percent: the mAP of scores that know nothing."""
    return 100 * results.linear_metrics["prevalence"]


def _half_width(run: Run) -> float:
    """The longer arm of a run's bootstrap interval over clips, in percent."""
    metrics = run.metrics
    return 100 * max(metrics["mAP_high"] - metrics["mAP"], metrics["mAP"] - metrics["mAP_low"])


def _student(freedom: int) -> float:
    """97.5% quantile of Student's t."""
    from scipy.special import stdtrit  # a third of a second to import

    return float(stdtrit(freedom, 0.975))


def _model_row(results: Results, model: str) -> Row:
    published, runs, timing = results.published[model], results.runs[model], results.timings[model]
    maps = [100 * run.metrics["mAP"] for run in runs]
    parameters = runs[0].training["parameters"]
    settings, dcls = parameters["model"], parameters["dcls"]
    size = dcls["dilated_kernel_size"]
    compared = _compared(results, model)
    plain, wide = (timing.classes[count] for count in ("527", "1000"))
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
        map_mean=fmean(maps),
        map_sd=stdev(maps) if len(maps) > 1 else None,
        map_seeds=len(maps),
        map_intervals_lowest=100 * min(run.metrics["mAP_low"] for run in runs),
        map_intervals_highest=100 * max(run.metrics["mAP_high"] for run in runs),
        map_over_chance=fmean(run.metrics["mAP"] / run.metrics["prevalence"] for run in runs),
        map_difference_published=_published_difference(results, model),
        map_difference_mean=compared.mean if compared else None,
        map_difference_sd=compared.sd if compared else None,
        map_difference_seeds=compared.pairs if compared else None,
        map_difference_low=compared.low if compared else None,
        map_difference_high=compared.high if compared else None,
        map_difference_in_words=compared.words if compared else None,
        parameters_published=round(1e6 * published.params_millions),
        parameters_527=int(plain["parameters"]),
        parameters_1000=int(wide["parameters"]),
        parameters_trained=runs[0].training["trained_parameters"],
        throughput_published=published.throughput,
        throughput_527=plain["throughput"],
        throughput_527_low=plain["throughput_low"],
        throughput_527_high=plain["throughput_high"],
        throughput_1000=wide["throughput"],
        throughput_1000_low=wide["throughput_low"],
        throughput_1000_high=wide["throughput_high"],
        speed_ratio_published=_published_ratio(results, model),
        speed_ratio_527=_ratio(timing, "527"),
        speed_ratio_1000=_ratio(timing, "1000"),
        preset=results.preset,
        data=parameters["data"]["kind"],
        data_fingerprint=_joined(run.evaluation["data_fingerprint"] for run in runs),
        clip_seconds=parameters["data"]["clip_seconds"],
        test_clips=runs[0].metrics["clips"],
        test_classes=runs[0].metrics["classes"],
        scale=settings["scale"],
        depths=_spaced(settings["depths"]),
        widths=_spaced(settings["widths"]),
        epochs=settings["epochs"],
        batch=parameters["train"]["batch"],
        seeds=_joined(run.seed for run in runs),
        training_device=_joined(run.training["device"] for run in runs),
        timing_device=timing.record["device"],
        timing_threads=timing.record["threads"],
        timing_batch=timing.record["input_shape"][0],
        timing_precision=timing.record["precision"],
        code_revisions=_joined(record["code"]["revision"] or "unknown" for record in records),
        code_dirty=_dirty(record["code"]["dirty"] for record in records),
    )


def _linear_row(results: Results) -> Row:
    metrics, record = results.linear_metrics, results.linear_record
    return Row(
        model="linear_baseline",
        method="logistic regression on log-mel statistics",
        map_mean=100 * metrics["mAP"],
        map_intervals_lowest=100 * metrics["mAP_low"],
        map_intervals_highest=100 * metrics["mAP_high"],
        map_over_chance=metrics["mAP"] / metrics["prevalence"],
        preset=results.preset,
        data=record["parameters"]["data"]["kind"],
        data_fingerprint=record["data_fingerprint"],
        clip_seconds=record["parameters"]["data"]["clip_seconds"],
        test_clips=metrics["clips"],
        test_classes=metrics["classes"],
        training_device=record["device"],
        code_revisions=record["code"]["revision"] or "unknown",
        code_dirty=record["code"]["dirty"],
    )


def _chance_row(results: Results) -> Row:
    return Row(
        model="chance",
        method="mean prevalence of the test labels",
        map_mean=chance(results),
        map_over_chance=1.0,
        preset=results.preset,
        data=results.linear_record["parameters"]["data"]["kind"],
        data_fingerprint=results.linear_record["data_fingerprint"],
        test_clips=results.linear_metrics["clips"],
        test_classes=results.linear_metrics["classes"],
    )


def _compared(results: Results, model: str) -> Difference | None:
    baseline = baseline_of(model)
    if not is_dcls(model) or baseline not in results.runs:
        return None
    return difference(results.runs[model], results.runs[baseline])


def _published_difference(results: Results, model: str) -> float | None:
    if not is_dcls(model):
        return None
    decimals = 2  # as published
    return round(results.published[model].map_mean - results.published[baseline_of(model)].map_mean, decimals)


def _published_ratio(results: Results, model: str) -> float | None:
    if not is_dcls(model):
        return None
    return results.published[model].throughput / results.published[baseline_of(model)].throughput


def _ratio(timing: Timing, classes: str) -> float | None:
    """DCLS over baseline, from the DCLS model's own file: the two were timed in turn in one process."""
    return timing.classes[classes]["speed_relative_to_counterpart"] if is_dcls(timing.model) else None


def _spaced(values: list[int] | None) -> str | None:
    return " ".join(map(str, values)) if values else None


def _joined(values: Iterable[object]) -> str:
    """Each value once, in order of appearance."""
    return " ".join(str(value) for value in dict.fromkeys(values))


def _dirty(flags: Iterable[bool | None]) -> bool | None:
    """True where any is; None where none says."""
    known = [flag for flag in flags if flag is not None]
    return any(known) if known else None
