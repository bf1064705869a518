"""The paper's Table 1 with the reproduced numbers beside it."""

from __future__ import annotations

from functools import partial
from typing import Any

import pandas as pd

from harness.config.systems import LINEAR_BASELINE
from harness.report.decisions import seed_interval
from harness.report.frames import IN_POINTS, Frames
from harness.report.made_by import MadeBy, clips_tested, coverage
from harness.report.paper_tables.numbers import (
    NONE,
    mean_sd,
    millions,
    number,
    number_of_runs,
    rate,
    so_many,
    span,
    words,
)
from harness.report.paper_tables.table import Column, Recipe, Table, View, as_frame, cells_from, each_once, view

CHANCE = "chance"
SIZES = ("depths", "widths")
METHODS = {LINEAR_BASELINE: "logistic regression on log-mel statistics", CHANCE: "mean prevalence of the test labels"}

COLUMNS = (  # mAP in percent, throughput in clips/s; `speed_ratio` is DCLS over baseline; _low, _high: 95% intervals
    *("model", "backbone", "method", "kernel_size_published", "kernel_count_published", "kernel_size", "kernel_count"),
    *("map_published", "map_sd_published", "map_mean", "map_sd", "map_low", "map_high", "map_seeds", "val_map_rise"),
    *("map_intervals_lowest", "map_intervals_highest", "map_over_chance"),  # of the seeds' intervals over clips
    *("map_difference_published", "map_difference_mean", "map_difference_sd", "map_difference_seeds"),
    *("map_difference_low", "map_difference_high", "map_difference_clips_low", "map_difference_clips_high"),
    *("map_difference_in_words", "parameters_published", "parameters_527", "parameters_1000", "parameters_trained"),
    *("throughput_published", "throughput_527", "throughput_527_low", "throughput_527_high"),
    *("speed_ratio_published", "speed_ratio_527", "speed_ratio_527_low", "speed_ratio_527_high", "speed_ratio_noise"),
    *("speed_in_words", "preset", "data", "data_fingerprint", "clip_seconds", "test_clips", "test_classes"),
    *("scale", "depths", "widths", "start", "epochs", "batch", "seeds", "repeats", "training_device"),
    *("timing_device", "timing_threads", "timing_batch", "timing_precision", "timing_condition", "code"),
)
NOTES = (
    "mAP is in percent; ± is the standard deviation over n seeds, or over folds.",
    "Parameters and throughput are those of the full-size models, whatever was trained. The published parameters are "
    "of models with 1000 classes.",
    "Throughput is in clips of 10 s a second: the median of the timed rounds, with its 95% interval. The published one "
    "is from the authors' GPU, so that only ratios compare.",
    "DCLS model and baseline take turns in a round, and the ratio is that of a round. The noise is what the baseline "
    "timed against itself shows: a ratio no further from 1 is no difference (throughput.md has all conditions).",
)
RULE = (
    "A system is called higher or lower than its baseline only where the 95% interval of the difference leaves out 0. "
    "The interval combines seed and clip uncertainty, of the same seeds and clips for both; with one seed, clips only."
)
FOLDS_RULE = (
    "Each seed tests on a fold of its own. The interval counts the choice of clips twice, which makes it too wide, "
    "and leaves out that folds share training clips, which makes it too narrow."
)
PUBLISHED: dict[str, Recipe] = {
    "kernel_size_published": "kernel_size",
    "kernel_count_published": "kernel_count",
    "map_published": "mAP",
    "map_sd_published": "sd",
    "map_difference_published": "mAP_difference",
    "parameters_published": "parameters",
    "throughput_published": "throughput",
    "speed_ratio_published": "speed_ratio",
}
SCORES: dict[str, Recipe] = {
    "map_mean": lambda lines: (100 * lines.mAP).mean(),
    "map_sd": lambda lines: (100 * lines.mAP).std(),
    "map_low": lambda lines: seed_interval(100 * lines.mAP)[0],
    "map_high": lambda lines: seed_interval(100 * lines.mAP)[1],
    "map_seeds": len,
    "map_intervals_lowest": lambda lines: 100 * lines.mAP_low.min(),
    "map_intervals_highest": lambda lines: 100 * lines.mAP_high.max(),
    "map_over_chance": lambda lines: (lines.mAP / lines.prevalence).mean(),
    "test_classes": "classes",
}
OF_CHANCE: dict[str, Recipe] = {
    "map_mean": lambda lines: 100 * lines.prevalence.mean(),
    "map_over_chance": lambda _: 1.0,
    "test_classes": "classes",
}
TIMING: dict[str, Recipe] = {
    **{name: name for name in ("parameters_527", "parameters_1000")},
    **{f"throughput_527{end}": f"throughput{end}" for end in ("", "_low", "_high")},
    **{f"speed_ratio_527{end}": f"ratio_to_baseline{end}" for end in ("", "_low", "_high")},
    "speed_ratio_noise": lambda lines: lines.no_difference_below.where(lines.ratio_to_baseline.notna()).iloc[0],
    "speed_in_words": "in_words",
    **{f"timing_{name}": name for name in ("device", "threads", "batch", "precision", "condition")},
}
TRAINING: dict[str, Recipe] = {
    **{name: name for name in ("kernel_size", "kernel_count")},
    "parameters_trained": "trained_parameters",
    **{name: name for name in ("scale", "start", "epochs", "batch", "depths", "widths")},
}


def table1(frames: Frames, by: MadeBy) -> Table:
    """A row a model in the paper's order, then the linear baseline, then chance."""
    cells = table1_cells(frames)
    return Table(
        name="table1",
        title="Table 1 of arXiv 2309.13972: published and reproduced",
        cells=cells,
        columns=COLUMNS,
        views=tuple(_views(frames, list(as_frame(cells, COLUMNS).itertuples(index=False)))),
        facts=by.facts,
        warnings=(*by.warnings, *by.disagreements),
        notes=(*NOTES, RULE, FOLDS_RULE) if frames.folds else (*NOTES, RULE),
    )


def table1_rows(frames: Frames) -> list[Any]:
    """The rows, with COLUMNS as attributes; NaN where a row has no such cell."""
    return list(as_frame(table1_cells(frames), COLUMNS).itertuples(index=False))


def table1_cells(frames: Frames) -> pd.DataFrame:
    runs = frames.runs
    trained, linear = runs[runs.model != LINEAR_BASELINE], runs[runs.model == LINEAR_BASELINE]
    chance = frames.tested.assign(model=CHANCE)
    every = pd.concat([runs, chance])
    every = every.assign(preset=frames.preset, method=every.model.map(METHODS).fillna(every.method))
    shared = every[["model"]].drop_duplicates().merge(frames.tested[["metrics_file", "evaluation_file"]], how="cross")
    timed = frames.shown_timings.convert_dtypes()  # whole numbers as such
    coded = trained.merge(timed[["model", "revision", "source"]], on="model", how="left")
    differences: dict[str, Recipe] = {
        **{f"map_difference_{name}": name for name in IN_POINTS},
        "map_difference_seeds": "n",
        "map_difference_in_words": partial(_in_words, repeats=frames.repeats),
    }
    return cells_from(
        "model",
        (every, (), ["model", "preset"]),
        (trained, (), ["backbone"]),
        (every, (), ["method"]),
        (runs, (), {"seeds": each_once("seed"), "repeats": lambda _: frames.repeats}),
        (frames.published, ("source",), PUBLISHED),
        (_first_of_each(trained), ("training_file",), TRAINING),
        (trained, ("training_file",), {"training_device": each_once("training_device")}),
        (runs, ("metrics_file",), SCORES),
        (frames.histories, ("source",), {"val_map_rise": _rise}),
        (chance, ("metrics_file",), OF_CHANCE),
        (shared.assign(test_clips=clips_tested(frames)), ("metrics_file", "evaluation_file"), ["test_clips"]),
        (every, ("evaluation_file",), {name: each_once(name) for name in ("data", "data_fingerprint")}),
        (runs, ("evaluation_file",), ["clip_seconds"]),
        (linear, ("evaluation_file",), {"training_device": each_once("evaluation_device"), "code": _code}),
        (frames.to_baselines, ("source",), differences),
        (timed, ("source",), TIMING),
        (coded, ("training_file", "evaluation_file", "source"), {"code": _code}),
    )


def _first_of_each(trained: pd.DataFrame) -> pd.DataFrame:
    """The first run of each model, its kernels as the paper's table has them, depths and widths in words."""
    first = trained.groupby("model", sort=False).head(1).convert_dtypes()  # whole numbers as such
    sides = first.dilated_kernel_size.fillna(first.kernel_size)
    return first.assign(
        kernel_size=[f"{side}x{side}" for side in sides],
        kernel_count=first.kernel_count.fillna(first.kernel_size**2),
        **{name: [" ".join(map(str, one)) if isinstance(one, list) else "" for one in first[name]] for name in SIZES},
    )


def _rise(history: pd.DataFrame) -> float | None:
    """Points by which the validation mAP, mean over the seeds, rose over the last quarter of the epochs."""
    curve = 100 * history.groupby("epoch").val_mAP.mean()
    before = round(0.75 * curve.index.max())
    return float(curve.iloc[-1] - curve[before]) if before in curve.index and before < curve.index.max() else None


def _in_words(pairs: pd.DataFrame, repeats: str) -> str:
    """The verdict on a pair; that of one seed is on its weights alone."""
    pair = pairs.iloc[0]
    if pair.unfair:
        return f"{pair.verdict}: {pair.unfair}"
    said = str(pair.verdict if pair.n > 1 else pair.verdict_for_these_weights)
    if said in ("higher", "lower"):
        return f"{said} for these weights" if pair.n == 1 else said
    return f"{said} with {so_many(pair.n, repeats)}"


def _code(lines: pd.DataFrame) -> str:
    """Of training, evaluation and timing, where they are."""
    timed = [f"revision {one[:10]}" for one in lines.get("revision", pd.Series()).dropna()]
    return "; ".join(dict.fromkeys([*lines.training_code.dropna(), *lines.evaluation_code, *timed]))


def _views(frames: Frames, rows: list[Any]) -> list[View]:
    found = [_published_and_reproduced(rows, coverage(frames))]
    references: list[Column] = [
        ("system", "name"),
        ("where from", "source"),
        ("mAP", lambda one: mean_sd(100 * one.mAP, 100 * one.sd, "" if pd.isna(one.n) else f"n {one.n:.0f}")),
    ]
    if len(frames.references):
        points = frames.references.itertuples()
        found.append(view("Reference points: not produced by this run", points, references, words=2))
    if compared := [row for row in rows if row.model in frames.systems and frames.systems[row.model].compared_with]:
        found.append(_comparison(compared, frames.repeats))
    return [*found, _details([row for row in rows if row.model != CHANCE], frames.repeats)]


def _published_and_reproduced(rows: list[Any], covered: str) -> View:
    def counted(row: Any) -> str:
        if pd.isna(row.parameters_1000):
            return NONE
        return f"{millions(row.parameters_1000)} / {millions(row.parameters_527)}"

    columns: list[Column] = [
        ("model", "model"),
        ("kernel size / count", _kernel),
        ("mAP published", lambda row: mean_sd(row.map_published, row.map_sd_published)),
        (f"mAP reproduced{f' ({covered})' if covered else ''}", reproduced),
        ("mAP / chance", lambda row: number(row.map_over_chance, ".1f")),
        ("parameters published", lambda row: millions(row.parameters_published)),
        ("reproduced (1000 / 527 classes)", counted),
        ("throughput published", lambda row: number(row.throughput_published, ".1f")),
        ("reproduced (527 classes)", lambda row: rate(row.throughput_527)),
    ]
    return view("The paper's table: published and reproduced", rows, columns, words=2)


def _kernel(row: Any) -> str:
    if pd.isna(row.kernel_size):
        return NONE
    here = f"{row.kernel_size} / {row.kernel_count}"
    if pd.isna(row.kernel_size_published):
        return here
    published = f"{row.kernel_size_published} / {row.kernel_count_published}"
    return here if here == published else f"{published}, here {here}"


def reproduced(row: Any) -> str:
    return mean_sd(row.map_mean, row.map_sd, number_of_runs(row.map_seeds, row.repeats))


def _comparison(rows: list[Any], repeats: str) -> View:
    def difference(row: Any) -> str:
        over = number_of_runs(row.map_difference_seeds, repeats)
        return mean_sd(row.map_difference_mean, row.map_difference_sd, over, "+")

    def alone(row: Any) -> str:
        return span(row.map_difference_clips_low, row.map_difference_clips_high, "+")

    columns: list[Column] = [
        ("against its baseline", "model"),
        ("mAP, in words", lambda row: words(row.map_difference_in_words, "baseline not run")),
        ("mAP difference published", lambda row: number(row.map_difference_published, "+.2f")),
        ("reproduced", difference),
        (f"95% interval ({repeats} and clips)", lambda row: span(row.map_difference_low, row.map_difference_high, "+")),
        ("95% interval (clips alone)", alone),
        ("speed ratio published", lambda row: number(row.speed_ratio_published, ".2f")),
        ("reproduced", lambda row: number(row.speed_ratio_527, ".2f")),
        ("95% interval", lambda row: span(row.speed_ratio_527_low, row.speed_ratio_527_high)),
        ("noise", lambda row: number(row.speed_ratio_noise, ".2f")),
        ("speed, in words", lambda row: words(row.speed_in_words)),
    ]
    return view("System minus baseline (mAP), system over baseline (speed)", rows, columns, words=2)


def _details(rows: list[Any], repeats: str) -> View:
    def timed(row: Any) -> str:
        if pd.isna(row.throughput_527):
            return NONE
        return f"{rate(row.throughput_527)} ({rate(row.throughput_527_low)} to {rate(row.throughput_527_high)})"

    columns: list[Column] = [
        ("model", "model"),
        (
            f"mAP: the {repeats}' 95% intervals over clips span",
            lambda row: span(row.map_intervals_lowest, row.map_intervals_highest),
        ),
        ("parameters trained", lambda row: number(row.parameters_trained, ",")),
        ("parameters, 527 classes", lambda row: number(row.parameters_527, ",")),
        ("1000 classes", lambda row: number(row.parameters_1000, ",")),
        ("throughput (95% interval)", timed),
    ]
    return view("Details of the reproduced columns", rows, columns)
