"""Which result files the cells of the tables come from, as paths relative to the repository root."""

from __future__ import annotations

from collections.abc import Iterable

from harness.base import paths
from harness.config.systems import LINEAR_BASELINE
from harness.report.load import Results, Run
from harness.report.summary import Row
from harness.throughput.device import timings_file

PUBLISHED = (
    "backbone",
    "method",
    "kernel_size_published",
    "kernel_count_published",
    "map_published",
    "map_sd_published",
    "map_difference_published",
    "parameters_published",
    "throughput_published",
    "speed_ratio_published",
)
SCORES = ("map_mean", "map_sd", "map_seeds", "map_intervals_lowest", "map_intervals_highest", "map_over_chance")
COMPARISON = (
    "map_difference_mean",
    "map_difference_sd",
    "map_difference_seeds",
    "map_difference_low",
    "map_difference_high",
    "map_difference_clips_low",
    "map_difference_clips_high",
    "map_difference_in_words",
)
TIMES = (
    "parameters_527",
    "parameters_1000",
    "throughput_527",
    "throughput_527_low",
    "throughput_527_high",
    "speed_ratio_527",
    "speed_ratio_527_low",
    "speed_ratio_527_high",
    "speed_ratio_noise",
    "speed_in_words",
    "timing_device",
    "timing_threads",
    "timing_batch",
    "timing_precision",
    "timing_condition",
)
FIRST_TRAINING = (
    "kernel_size",
    "kernel_count",
    "parameters_trained",
    "data",
    "clip_seconds",
    "scale",
    "depths",
    "widths",
    "start",
    "epochs",
    "batch",
)
CODE = ("code_revisions", "code_dirty")


TESTED = ("test_clips", "test_classes")
ASKED_FOR = ("model", "preset", "seeds", "repeats")  # from the parameters: no result


def run_files(results: Results, runs: Iterable[Run], *names: str) -> tuple[str, ...]:
    """The files called `names` of each run."""
    return tuple(str(paths.run_results(results.preset, run.model, run.seed) / name) for run in runs for name in names)


def result_file(results: Results, name: str) -> str:
    return str(paths.results(results.preset) / name)


def table1_sources(results: Results, row: Row) -> dict[str, tuple[str, ...]]:
    """By column of table1.csv, for the row's cells that are neither empty, nor asked for, nor words fixed in the code.

    What all models share (how many clips were tested, and which data) is read from the first model's runs.
    """
    shared = run_files(results, results.scored, "evaluation/metrics.json")
    found = dict.fromkeys(TESTED, (*shared, *run_files(results, results.scored[:1], "evaluation/evaluation.json")))
    if row.model == "chance":
        found["map_mean"] = shared
        found["data"] = run_files(results, results.scored[:1], "evaluation/evaluation.json")
        found["data_fingerprint"] = run_files(results, results.scored, "evaluation/evaluation.json")
    elif row.model == LINEAR_BASELINE:
        found |= _scored(results, results.linear)
        found |= {"data": run_files(results, results.scored[:1], "evaluation/evaluation.json")}
        found |= dict.fromkeys(("clip_seconds",), run_files(results, results.linear[:1], "evaluation/evaluation.json"))
        found |= dict.fromkeys(
            ("training_device", *CODE), run_files(results, results.linear, "evaluation/evaluation.json")
        )
    else:
        found |= _model(results, row.model)
    return {column: files for column, files in found.items() if getattr(row, column) is not None}


def _scored(results: Results, runs: tuple[Run, ...]) -> dict[str, tuple[str, ...]]:
    return {
        **dict.fromkeys(SCORES, run_files(results, runs, "evaluation/metrics.json")),
        "test_classes": run_files(results, runs[:1], "evaluation/metrics.json"),
        "data_fingerprint": run_files(results, runs, "evaluation/evaluation.json"),
    }


def _model(results: Results, model: str) -> dict[str, tuple[str, ...]]:
    runs = results.runs[model]
    times = str(timings_file(results.timings[model].condition.device))
    return {
        **dict.fromkeys(PUBLISHED, (str(paths.PUBLISHED),)),
        **_scored(results, runs),
        **dict.fromkeys(COMPARISON, (result_file(results, "comparison.json"),)),
        **dict.fromkeys(TIMES, (times,)),
        **dict.fromkeys(FIRST_TRAINING, run_files(results, runs[:1], "training/run.json")),
        **dict.fromkeys(
            ("kernel_size", "kernel_count"), (*run_files(results, runs[:1], "training/run.json"), str(paths.PUBLISHED))
        ),
        "training_device": run_files(results, runs, "training/run.json"),
        **dict.fromkeys(CODE, (*run_files(results, runs, "training/run.json", "evaluation/evaluation.json"), times)),
    }
