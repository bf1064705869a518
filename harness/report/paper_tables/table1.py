"""The paper's Table 1 with the reproduced numbers beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pandas as pd

from harness.config.systems import CLASS_COUNTS, LINEAR_BASELINE, is_dcls
from harness.report.frames import Frames
from harness.report.made_by import MadeBy, clips_tested, coverage
from harness.report.paper_tables.numbers import NONE, count, mean_sd, millions, number, rate, span
from harness.report.paper_tables.table import Table, View, as_frame, cells_from, in_one_line
from harness.report.paper_tables.throughput import difference_in_speed
from harness.report.timing_frames import condition_of
from harness.throughput import rows

Cells = dict[str, Any]
Make = Callable[[pd.DataFrame], Cells]

CHANCE = "chance"
METHODS = {LINEAR_BASELINE: "logistic regression on log-mel statistics", CHANCE: "mean prevalence of the test labels"}

COLUMNS = (  # mAP in percent, throughput in clips/s; `speed_ratio` is DCLS over baseline; _low, _high: 95% intervals
    *("model", "backbone", "method", "kernel_size_published", "kernel_count_published", "kernel_size", "kernel_count"),
    *("map_published", "map_sd_published", "map_mean", "map_sd", "map_seeds"),
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
ASKED_FOR = ("model", "preset", "seeds", "repeats")  # from the parameters: no result
NOTES = (
    "mAP is in percent; ± is the standard deviation over n seeds, or over folds.",
    "Parameters and throughput are those of the full-size models, whatever was trained; the published parameters "
    "count the 1000-class heads.",
    "Throughput is in clips (128x1001 log-mel) a second, the median of the timed rounds with its 95% interval. The "
    "published one is from the authors' GPU: only the ratios compare. The ratio is taken within rounds, in which DCLS "
    "model and baseline take turns; there is no difference where it is no further from 1 than the noise, which is what "
    "the baseline timed against itself shows (throughput.md has all devices and conditions).",
)
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


def table1(frames: Frames, by: MadeBy) -> Table:
    """A row a model in the paper's order, then the linear baseline, then chance."""
    cells = table1_cells(frames)
    rows = list(as_frame(cells, COLUMNS).itertuples(index=False))
    compared = [row for row in rows if is_dcls(row.model)]
    views = [
        _published_and_reproduced(rows, coverage(frames)),
        *([_references(frames.references)] if len(frames.references) else []),
        *([_comparison(compared, frames.repeats)] if compared else []),
        _details(rows, frames.repeats),
    ]
    return Table(
        name="table1",
        title="Table 1 of arXiv 2309.13972: published and reproduced",
        cells=cells,
        columns=COLUMNS,
        views=tuple(views),
        facts=by.facts,
        warnings=(*by.warnings, *by.disagreements),
        notes=(*NOTES, RULE, FOLDS_RULE) if frames.folds else (*NOTES, RULE),
    )


def table1_rows(frames: Frames) -> list[Any]:
    """The rows, with COLUMNS as attributes; NaN where a row has no such cell."""
    return list(as_frame(table1_cells(frames), COLUMNS).itertuples(index=False))


def table1_cells(frames: Frames) -> pd.DataFrame:
    runs, published = frames.runs, frames.published[frames.published.model.isin(frames.models)]
    trained = runs[runs.model != LINEAR_BASELINE]
    tested = trained[trained.model == frames.models[0]]  # the test clips are the same for all models
    every = pd.concat([runs, tested.assign(model=CHANCE)])
    first = trained.groupby("model", sort=False).head(1).merge(published, on="model", suffixes=("", "_published"))
    timed = frames.shown_timings[frames.shown_timings.model.isin(frames.models)]
    coded = trained.merge(timed[["model", "revision", "source"]], on="model")
    shared = every[["model"]].drop_duplicates().merge(tested[["metrics_file", "evaluation_file"]], how="cross")
    clips = clips_tested(frames)
    parts: list[tuple[pd.DataFrame, tuple[str, ...], Make]] = [
        (every, (), lambda one: _asked_for(one, frames)),
        (published, ("source",), _published),
        (first, ("training_file", "source"), _kernel),
        (first, ("training_file",), _settings),
        (trained, ("training_file",), lambda one: {"training_device": in_one_line(one.training_device)}),
        (every, ("metrics_file",), _scores),
        (every, ("evaluation_file",), _data),
        (shared, ("metrics_file", "evaluation_file"), lambda _: {"test_clips": clips}),
        (frames.comparisons, ("source",), _difference),
        (timed, ("source",), _timing),
        (coded, ("training_file", "evaluation_file", "source"), _code),
    ]
    return pd.concat([cells_from(lines, "model", files, make) for lines, files, make in parts])


def in_words(pair: Any) -> str:
    """The verdict on a row of `Frames.comparisons`; that of one seed is on its weights alone."""
    if pair.n > 1:
        return str(pair.verdict)
    said = str(pair.verdict_for_these_weights)
    return f"{said} for these weights" if said in ("higher", "lower") else said


def _asked_for(lines: pd.DataFrame, frames: Frames) -> Cells:
    model = lines.model.iloc[0]
    found = {"model": model, "method": METHODS.get(model), "preset": frames.preset}
    return found if model == CHANCE else found | {"seeds": in_one_line(lines.seed), "repeats": frames.repeats}


def _published(lines: pd.DataFrame) -> Cells:
    one = lines.iloc[0]
    return {
        "backbone": one.backbone,
        "method": one.paper_method,
        "kernel_size_published": one.kernel_size,
        "kernel_count_published": one.kernel_count,
        "map_published": one.mAP,
        "map_sd_published": one.sd,
        "map_difference_published": one.mAP_difference,
        "parameters_published": round(1e6 * one.params_millions),
        "throughput_published": one.throughput,
        "speed_ratio_published": one.speed_ratio,
    }


def _kernel(lines: pd.DataFrame) -> Cells:
    one = lines.iloc[0]
    if not is_dcls(one.model):
        return {"kernel_size": one.kernel_size, "kernel_count": one.kernel_count_published}
    size = int(one.dilated_kernel_size)
    return {"kernel_size": f"{size}x{size}", "kernel_count": int(one.kernel_count)}


def _settings(lines: pd.DataFrame) -> Cells:
    one = lines.iloc[0]
    numbers = {name: int(one[name]) for name in ("epochs", "batch")}
    spaced = {name: " ".join(map(str, one[name])) for name in ("depths", "widths") if isinstance(one[name], list)}
    return (
        {"parameters_trained": int(one.trained_parameters), "scale": one.scale, "start": one.start} | numbers | spaced
    )


def _scores(lines: pd.DataFrame) -> Cells:
    classes = {"test_classes": lines.classes.iloc[0]}
    if lines.model.iloc[0] == CHANCE:
        return classes | {"map_mean": 100 * lines.prevalence.mean(), "map_over_chance": 1.0}
    maps = 100 * lines.mAP
    return classes | {
        "map_mean": maps.mean(),
        "map_sd": maps.std(),
        "map_seeds": len(maps),
        "map_intervals_lowest": 100 * lines.mAP_low.min(),
        "map_intervals_highest": 100 * lines.mAP_high.max(),
        "map_over_chance": (lines.mAP / lines.prevalence).mean(),
    }


def _data(lines: pd.DataFrame) -> Cells:
    found: Cells = {name: in_one_line(lines[name]) for name in ("data", "data_fingerprint")}
    if lines.model.iloc[0] == LINEAR_BASELINE:
        found["training_device"] = in_one_line(lines.evaluation_device)
        found["code"] = in_one_line(lines.evaluation_code, "; ")
    return found if lines.model.iloc[0] == CHANCE else found | {"clip_seconds": lines.clip_seconds.iloc[0]}


def _difference(lines: pd.DataFrame) -> Cells:
    one = lines.iloc[0]
    percent = {name: 100 * one[name] for name in ("mean", "sd", "low", "high", "clips_low", "clips_high")}
    found = {f"map_difference_{name}": value for name, value in percent.items()}
    return found | {"map_difference_seeds": one.n, "map_difference_in_words": in_words(one)}


def _timing(lines: pd.DataFrame) -> Cells:
    one, condition = lines.iloc[0], condition_of(lines.iloc[0])
    found = {f"parameters_{classes}": int(one[f"parameters_{classes}"]) for classes in CLASS_COUNTS}
    for end in rows.INTERVAL:
        found[f"throughput_527{end}"] = one[f"throughput{end}"]
        found[f"speed_ratio_527{end}"] = one[f"ratio_to_baseline{end}"]
    return found | {
        "speed_ratio_noise": one.no_difference_below if is_dcls(one.model) else None,
        "speed_in_words": difference_in_speed(one),
        "timing_device": one.device,
        "timing_threads": int(one.threads),
        "timing_batch": condition.batch,
        "timing_precision": condition.precision,
        "timing_condition": condition.words,
    }


def _code(lines: pd.DataFrame) -> Cells:
    names = [*lines.training_code, *lines.evaluation_code, *(f"revision {one[:10]}" for one in lines.revision)]
    return {"code": in_one_line(names, "; ")}


def _published_and_reproduced(rows: Iterable[Any], covered: str) -> View:
    header = (
        *("model", "kernel size / count", "mAP published", f"mAP reproduced{f' ({covered})' if covered else ''}"),
        *("mAP / chance", "parameters published", "reproduced (1000 / 527 classes)"),
        *("throughput published", "reproduced (527 classes)"),
    )
    cells = tuple(
        (
            row.model,
            _kernels(row),
            mean_sd(row.map_published, row.map_sd_published),
            mean_sd(row.map_mean, row.map_sd, count(row.map_seeds, row.repeats)),
            number(row.map_over_chance, ".1f"),
            millions(row.parameters_published),
            NONE
            if pd.isna(row.parameters_1000)
            else f"{millions(row.parameters_1000)} / {millions(row.parameters_527)}",
            number(row.throughput_published, ".1f"),
            rate(row.throughput_527),
        )
        for row in rows
    )
    return View("The paper's table: published and reproduced", header, cells, words=2)


def _kernels(row: Any) -> str:
    if pd.isna(row.kernel_size):
        return NONE
    published = f"{row.kernel_size_published} / {row.kernel_count_published}"
    here = f"{row.kernel_size} / {row.kernel_count}"
    return here if here == published else f"{published}, here {here}"


def _references(references: pd.DataFrame) -> View:
    cells = tuple(
        (one.name, one.source, mean_sd(100 * one.mAP, 100 * one.sd, "" if pd.isna(one.n) else f"n {one.n:.0f}"))
        for one in references.itertuples(index=False)
    )
    return View("Reference points: not produced by this run", ("system", "where from", "mAP"), cells, words=2)


def _comparison(rows: Iterable[Any], repeats: str) -> View:
    header = (
        *("DCLS against its baseline", "mAP, in words", "mAP difference published", "reproduced"),
        *(f"95% interval ({repeats} and clips)", "95% interval (clips alone)"),
        *("speed ratio published", "reproduced", "95% interval", "noise", "speed, in words"),
    )
    cells = tuple(
        (
            row.model,
            "baseline not run" if pd.isna(row.map_difference_in_words) else row.map_difference_in_words,
            number(row.map_difference_published, "+.2f"),
            mean_sd(row.map_difference_mean, row.map_difference_sd, count(row.map_difference_seeds, repeats), "+"),
            span(row.map_difference_low, row.map_difference_high, "+"),
            span(row.map_difference_clips_low, row.map_difference_clips_high, "+"),
            number(row.speed_ratio_published, ".2f"),
            number(row.speed_ratio_527, ".2f"),
            span(row.speed_ratio_527_low, row.speed_ratio_527_high),
            number(row.speed_ratio_noise, ".2f"),
            NONE if pd.isna(row.speed_in_words) else row.speed_in_words,
        )
        for row in rows
    )
    return View("DCLS minus baseline (mAP), DCLS over baseline (speed)", header, cells, words=2)


def _details(rows: Iterable[Any], repeats: str) -> View:
    header = (
        *("model", f"mAP: the {repeats}' 95% intervals over clips span", "parameters trained"),
        *("parameters, 527 classes", "1000 classes", "throughput (95% interval)"),
    )
    cells = tuple(
        (
            row.model,
            span(row.map_intervals_lowest, row.map_intervals_highest),
            number(row.parameters_trained, ","),
            number(row.parameters_527, ","),
            number(row.parameters_1000, ","),
            NONE
            if pd.isna(row.throughput_527)
            else f"{rate(row.throughput_527)} ({rate(row.throughput_527_low)} to {rate(row.throughput_527_high)})",
        )
        for row in rows
        if row.model != CHANCE
    )
    return View("Details of the reproduced columns", header, cells)
