"""`python -m harness compare A B`: what changed between two commits, as Markdown for a pull request."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable

import pandas as pd

from harness.records.schemas import Pair
from harness.revisions.code_changes import code_changes
from harness.revisions.results import (
    FELL,
    RESAMPLES,
    SAME,
    PresetResults,
    flat,
    map_changes,
    read_results,
    record_changes,
)
from harness.revisions.revision import Revision, changed_files, read_revision
from harness.revisions.timings import read_timings

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
        sections = [_verdict(maps, between, rerun), _parameters(a, b), code_changes(a, b, changed)]
        for preset, both in results.items():
            only = "A" if preset not in b.presets else "B" if preset not in a.presets else ""
            sections += [f"### {preset}", *_preset(*both, maps[preset], only)]
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
    fell, compared = every[every.verdict == FELL].itertuples(), every[every.compared]
    points = [f"{one.preset} {one.model} {_points(one.difference)} (A {_map(one.mAP_a, one.arm_a)})" for one in fell]
    if points:
        said = f"**mAP fell by more than its interval** {between}: {', '.join(points)}"
    elif compared.empty:
        said = f"**No mAP could be compared** {between}"
    elif (compared.verdict == SAME).all():
        said = f"**No mAP changed** {between}{'' if rerun else ': no file in results/ differs'}"
    else:
        said = f"**No mAP fell by more than its interval** {between}"
    left_out = []
    for preset, found in maps.items():
        for obstacle, models in found[~found.compared].groupby("verdict", sort=False).model:
            left_out.append(f"{preset} {'all' if len(models) == len(found) else ', '.join(models)} ({obstacle})")
    return f"{said}. Not compared: {'; '.join(left_out)}." if left_out else f"{said}."


def _parameters(a: Revision, b: Revision) -> str:
    old, new = (flat(one.yaml("params.yaml")) for one in (a, b))
    keys = [key for key in {**new, **old} if key and old.get(key) != new.get(key)]
    rows = [(key, _text(old.get(key, "null")), _text(new.get(key, "null"))) for key in keys]
    return _table("**Parameters** (params.yaml)", ["key", "A", "B"], rows)


def _preset(a: PresetResults, b: PresetResults, maps: pd.DataFrame, only: str) -> list[str]:
    """`only` is A or B where the other has no results of this preset."""
    if older := " and ".join(letter for letter, one in (("A", a), ("B", b)) if not one.readable):
        return [f"The result files of {older} are of another version of this code: not compared."]
    if only:
        columns = maps[["model", f"mAP_{only.lower()}", f"arm_{only.lower()}"]]
        scored = ", ".join(f"{model} {_map(mean, arm)}" for model, mean, arm in columns.itertuples(index=False))
        return [f"Only {only} has results of this preset{f' (mAP in %): {scored}' if scored else ''}."]
    title = "**What made the results** (data fingerprint, code, parameters, library versions, device, as recorded)"
    records = [(key, _text(old), _text(new), where) for key, old, new, where in record_changes(a, b)]
    parts = [_table(title, ["record", "A", "B", "results"], records)]
    title = "**mAP** in %, ± the half width of the 95% interval over clips"
    rows = [
        (
            *(one.model, one.verdict, one.seeds, _map(one.mAP_a, one.arm_a), _map(one.mAP_b, one.arm_b)),
            *(_points(one.difference), _interval(one.low, one.high)),
        )
        for one in maps.itertuples()
    ]
    header = ["model", "verdict", "seeds", "A", "B", "B - A", "95%, paired"]
    parts.append(_table(title, header, [] if (maps.verdict == SAME).all() else rows, 3, none=maps.empty))
    title = "**Differences between systems**, mAP in % with the 95% interval over seeds and clips"
    names = dict.fromkeys([*b.pairs, *a.pairs]) if a.pairs != b.pairs else {}
    pairs = [(name, _pair(a.pairs.get(name)), _pair(b.pairs.get(name))) for name in names]
    return [*parts, _table(title, ["difference", "A", "B"], pairs, none=not a.pairs)]


def _timings(old: pd.DataFrame, new: pd.DataFrame) -> str:
    title = "**Throughput** in clips/s (95% interval), full-size models of 527 classes"
    key = ["backbone", "convolution"]
    both = old.merge(new, on=key, how="outer", suffixes=("_a", "_b")).set_index(key)
    if old.equals(new):
        return _table(title, [], [], none=both.empty)
    alike, ratio = both.on_a == both.on_b, (both.throughput_b / both.throughput_a.astype(float))
    both["ratio"] = ratio.map("{:.2f}".format).where(alike, "other device").where(ratio.notna(), NONE)
    both = both.fillna(NONE).reset_index()
    rows = both[[*key, "rate_a", "rate_b", "ratio", "speed_a", "speed_b"]].itertuples(index=False, name=None)
    header = [*key, "A", "B", "B / A", "over its baseline, A", "over its baseline, B"]
    a, b = (" | ".join(sorted(set(some.on))) or NONE for some in (old, new))
    where = f"Both on {a}" if a == b else f"A on {a}; B on {b}"
    note = "The speed over the baseline is taken within rounds in one process, B / A is not."
    return f"{_table(title, header, rows, 2)}\n\n{where}. {note}"


def _table(title: str, header: list[str], rows: Iterable[tuple[str, ...]], words: int = 9, none: bool = False) -> str:
    """The title and a table, its first `words` columns aligned to the left; without rows, that nothing changed."""
    cells = pd.DataFrame(rows, columns=header).map(lambda cell: cell.replace("|", "\\|"))
    if cells.empty:
        return f"{title}: {'none' if none else 'unchanged'}."
    aligned = ["left" if place < words else "right" for place in range(len(header))]
    return f"{title}\n\n{cells.to_markdown(index=False, disable_numparse=True, colalign=aligned)}"


def _text(value: str) -> str:
    """A JSON value: text as it is, a hash in short, `-` for null."""
    plain = json.loads(value)
    text = plain if isinstance(plain, str) else NONE if plain is None else value
    return text[:12] if len(text) == 64 and text.isalnum() else text


def _points(difference: float) -> str:
    return NONE if pd.isna(difference) else f"{100 * difference:+.2f}"


def _map(mean: float, arm: float) -> str:
    return NONE if pd.isna(mean) else f"{100 * mean:.2f} ± {100 * arm:.2f}"


def _interval(low: float | None, high: float | None) -> str:
    if low is None or high is None or pd.isna(low) or pd.isna(high):
        return NONE
    return f"{100 * low:+.2f} to {100 * high:+.2f}"


def _pair(pair: Pair | None) -> str:
    """The verdict of one seed is on its weights alone."""
    if pair is None:
        return NONE
    if pair.unfair:
        return f"{pair.verdict}: {pair.unfair}"
    words = pair.verdict if pair.n > 1 else pair.verdict_for_these_weights
    alone = " for these weights" if pair.n == 1 and words in ("higher", "lower") else ""
    interval = "" if pair.low is None else f" ({_interval(pair.low, pair.high)})"
    return f"{_points(pair.mean)}{interval} {words}{alone}"
