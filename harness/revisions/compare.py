"""`python -m harness compare A B`: what changed between two commits, as Markdown for a pull request."""

from __future__ import annotations

import json
import os
import sys

import pandas as pd

from harness.config.systems import baseline_of
from harness.report import timing_frames
from harness.revisions.code_changes import CodeChanges, code_changes
from harness.revisions.results import (
    FELL,
    RESAMPLES,
    SAME,
    PresetResults,
    flat,
    in_order,
    map_changes,
    read_results,
    read_timings,
    record_changes,
)
from harness.revisions.revision import Revision, changed_files, read_revision
from harness.throughput import verdict

NONE = "-"
RULE = (
    "A metric fell by more than its interval where the mAP of B lies below that of A, both means over the seeds that "
    "both have, by more than the half width of A's 95% interval (mean over these seeds of the runs' intervals over "
    "clips). It is not judged where the test data, or all seeds, differ, or only one of the commits has the model."
)
PAIRED = (
    f"B - A is paired by seed and class: its 95% interval is a bootstrap of both ({RESAMPLES:,} draws of the classes' "
    "AP). Predictions are not in Git, so the sampling of the clips is covered by ± alone, the runs' own intervals."
)
STATUS = {"A": " (new)", "D": " (gone)"}


def compare_revisions(first: str, second: str) -> int:
    """Print what changed between two commits; 1 where a metric fell by more than its interval (RULE), else 0.

    Raises UserError where a commit is not there, or holds a file that cannot be read.
    """
    a, b = read_revision(first), read_revision(second)
    changed = changed_files(a, b)
    between = f"between A = `{a.name}` ({a.commit[:10]}) and B = `{b.name}` ({b.commit[:10]})"
    results = {one: (read_results(a, one), read_results(b, one)) for one in sorted(a.presets | b.presets)}
    maps = {preset: map_changes(*both) for preset, both in results.items()}
    if not changed:
        sections = [f"**Nothing changed** {between}: they hold the same files."]
    else:
        rerun = any(path.startswith("results/") for path in changed)
        sections = [_verdict(maps, between, rerun), _parameters(a, b), _code(code_changes(a, b, changed))]
        for preset, both in results.items():
            sections += [f"### {preset}", *_preset(a, b, preset, both, maps[preset])]
        sections += [f"{RULE}\n{PAIRED}"] if maps else []
        sections.append(_timings(read_timings(a), read_timings(b)))
    try:
        print("\n\n".join(sections), flush=True)
    except BrokenPipeError:  # `| head -1` has what it wants; the exit status still counts
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return int(any((found.verdict == FELL).any() for found in maps.values()))


def _verdict(maps: dict[str, pd.DataFrame], between: str, rerun: bool) -> str:
    """In words: what fell, what could not be compared. Without a `rerun` no file in results/ differs."""
    if not maps:
        return f"**No results to compare** {between}: neither has any."
    every = pd.concat([found.assign(preset=preset) for preset, found in maps.items()])
    fell, compared = every[every.verdict == FELL], every[every.compared.astype(bool)]
    if len(fell):
        points = [f"{row.preset} {row.model} {_points(row.difference)} (A {_map(row.mAP_a, row.arm_a)})" for row in fell.itertuples()]
        said = f"**mAP fell by more than its interval** {between}: {', '.join(points)}"
    elif compared.empty:
        said = f"**No mAP could be compared** {between}"
    elif (compared.verdict == SAME).all():
        said = f"**No mAP changed** {between}{'' if rerun else ': no file in results/ differs'}"
    else:
        said = f"**No mAP fell by more than its interval** {between}"
    left_out = []
    for preset, found in maps.items():
        for obstacle, models in found[~found.compared.astype(bool)].groupby("verdict", sort=False).model:
            which = "all" if len(models) == len(found) else ", ".join(models)
            left_out.append(f"{preset} {which} ({obstacle})")
    return f"{said}. Not compared: {'; '.join(left_out)}." if left_out else f"{said}."


def _parameters(a: Revision, b: Revision) -> str:
    found = []
    for one in (a, b):
        with one.named_in_errors():
            found.append(flat(one.yaml("params.yaml")) if "params.yaml" in one.contents else {})
    old, new = found
    rows = [(key, _text(old.get(key)), _text(new.get(key))) for key in {**new, **old} if old.get(key) != new.get(key)]
    return _section("**Parameters** (params.yaml)", pd.DataFrame(rows, columns=["key", "A", "B"]))


def _code(changes: CodeChanges) -> str:
    lines = []
    for stages, files in changes.files.items():
        named = (f"`{path}`{STATUS.get(letter, '')}" for path, letter in files.items())
        lines.append(f"- {', '.join(stages)}: {', '.join(named)}")
    if changes.stages:
        lines.append(f"- dvc.yaml: {', '.join(changes.stages)}")
    others = f"{changes.others} other changed files" if changes.others != 1 else "1 other changed file"
    also = f" No stage depends on {others}." if changes.others else ""
    if not lines:
        return f"**Code that stages depend on**: unchanged.{also}"
    return "\n".join([f"**Code that stages depend on**, by stage.{also}", "", *lines])


def _preset(
    a: Revision, b: Revision, preset: str, both: tuple[PresetResults, PresetResults], maps: pd.DataFrame
) -> list[str]:
    for letter, there, mean, arm in (("A", b, maps.mAP_a, maps.arm_a), ("B", a, maps.mAP_b, maps.arm_b)):
        if preset not in there.presets:
            scored = ", ".join(f"{model} {_map(*one)}" for model, *one in zip(maps.model, mean, arm, strict=True))
            return [f"Only {letter} has results of this preset{f' (mAP in %): {scored}' if scored else ''}."]
    older = [letter for letter, one in zip("AB", both, strict=True) if not one.readable]
    if older:
        return [f"Result files of {' and '.join(older)} are of another version than this code's: they are not compared."]
    records = record_changes(*both)
    records[["A", "B"]] = records[["A", "B"]].map(_text)
    title = "**What made the results** (data fingerprint, code, parameters, library versions, device, as recorded)"
    return [_section(title, records), _maps(maps), _pairs(both[0].pairs, both[1].pairs)]


def _maps(changes: pd.DataFrame) -> str:
    title = "**mAP** in %, ± the half width of the 95% interval over clips"
    if changes.empty or (changes.verdict == SAME).all():
        return f"{title}: {'none' if changes.empty else 'unchanged'}."
    rows = [
        (
            *(row.model, row.verdict, row.seeds, _map(row.mAP_a, row.arm_a), _map(row.mAP_b, row.arm_b)),
            *(_points(row.difference), _interval(100 * row.low, 100 * row.high, "+")),
        )
        for row in changes.itertuples()
    ]
    columns = ["model", "verdict", "seeds", "A", "B", "B - A", "95%, paired"]
    return _section(title, pd.DataFrame(rows, columns=columns), words=3)


def _pairs(old: pd.DataFrame, new: pd.DataFrame) -> str:
    title = "**DCLS - baseline**, mAP in % with the 95% interval over seeds and clips"
    both = old.merge(new, on="model", how="outer", suffixes=("_a", "_b")).set_index("model")
    if old.equals(new):
        return f"{title}: {'none' if both.empty else 'unchanged'}."
    rows = [(model, *(_pair(both.loc[model], letter) for letter in "ab")) for model in in_order(both.index)]
    return _section(title, pd.DataFrame(rows, columns=["model", "A", "B"]))


def _pair(pair: pd.Series, letter: str) -> str:
    mean, low, high, words = (pair[f"{name}_{letter}"] for name in ("mean", "low", "high", "in_words"))
    if pd.isna(mean):
        return NONE
    interval = "" if pd.isna(low) else f" ({_interval(100 * low, 100 * high, '+')})"
    return f"{_points(mean)}{interval} {words}"


def _timings(old: pd.DataFrame, new: pd.DataFrame) -> str:
    title = "**Throughput** in clips/s (95% interval), full-size models of 527 classes"
    if old.drop(columns="source", errors="ignore").equals(new.drop(columns="source", errors="ignore")):
        return f"{title}: {'none' if old.empty else 'unchanged'}."
    a, b = ({row["model"]: row for _, row in some.iterrows()} for some in (old, new))
    rows = []
    for model in in_order([*a, *b]):
        one, other = a.get(model), b.get(model)
        ratio = NONE
        if one is not None and other is not None:
            ratio = f"{other.throughput / one.throughput:.2f}" if _on(one) == _on(other) else "other device"
        rows.append((model, _rate(one), _rate(other), ratio, _ratio(one), _ratio(other)))
    columns = ["model", "A", "B", "B / A", "DCLS / baseline A", "DCLS / baseline B"]
    on_a, on_b = (" | ".join(sorted(set(map(_on, some.values())))) or NONE for some in (a, b))
    where = f"Both on {on_a}" if on_a == on_b else f"A on {on_a}; B on {on_b}"
    note = "DCLS / baseline is taken within rounds in one process, B / A is not."
    return f"{_section(title, pd.DataFrame(rows, columns=columns), words=1)}\n\n{where}. {note}"


def _on(timing: pd.Series) -> str:
    """What has to be the same for two timings to compare, in words."""
    return f"{timing.device} (threads: {timing.threads:g}), {timing_frames.condition_of(timing).words}"


def _rate(timing: pd.Series | None) -> str:
    if timing is None:
        return NONE
    median, low, high = (f"{timing[f'throughput{end}']:#.4g}" for end in ("", "_low", "_high"))
    return f"{median} ({low} to {high})"


def _ratio(timing: pd.Series | None) -> str:
    if timing is None or baseline_of(timing.model) == timing.model:
        return NONE
    ratio, low, high = (float(timing[f"ratio_to_baseline{end}"]) for end in ("", "_low", "_high"))
    noise = None if pd.isna(timing.no_difference_below) else float(timing.no_difference_below)
    return f"{ratio:.2f} ({_interval(low, high)}) {verdict.in_words(ratio, low, high, noise)}"


def _section(title: str, table: pd.DataFrame, words: int | None = None) -> str:
    """The title and a table of text, its first `words` columns aligned to the left; `unchanged` where it has no rows."""
    if table.empty:
        return f"{title}: unchanged."
    left = len(table.columns) if words is None else words
    aligned = ["left"] * left + ["right"] * (len(table.columns) - left)
    escaped = table.map(lambda cell: cell.replace("|", "\\|"))
    return f"{title}\n\n{escaped.to_markdown(index=False, disable_numparse=True, colalign=aligned)}"


def _text(value: str | None) -> str:
    """A JSON value: text as it is, a hash in short, `-` where there is none."""
    plain = json.loads(value or "null")
    if plain is None:
        return NONE
    text = plain if isinstance(plain, str) else str(value)
    return text[:12] if len(text) == 64 and text.isalnum() else text


def _points(difference: float) -> str:
    return NONE if pd.isna(difference) else f"{100 * difference:+.2f}"


def _map(mean: float, arm: float) -> str:
    return NONE if pd.isna(mean) else f"{100 * mean:.2f} ± {100 * arm:.2f}"


def _interval(low: float, high: float, sign: str = "") -> str:
    return NONE if pd.isna(low) or pd.isna(high) else f"{low:{sign}.2f} to {high:{sign}.2f}"
