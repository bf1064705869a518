"""`python -m harness compare A B`: what changed between two commits, as Markdown for a pull request."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from harness.report.grid import NONE, Grid, markdown_grid, rate_span, span
from harness.report.timings import Timing
from harness.revisions.metrics import FELL, RESAMPLES, SAME, MapChange, Mean, Pair, map_changes, pairs, timings
from harness.revisions.revisions import (
    CodeChange,
    Revision,
    changed_files,
    code_changes,
    parameter_changes,
    read_revision,
    record_changes,
)

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


def compare_revisions(first: str, second: str, html: bool = False) -> int:
    """Print what changed between two commits; 1 where a metric fell by more than its interval (RULE), else 0.

    As Markdown, or as one HTML page that also sets the cells and figures side by side that moved. Reads Git's objects
    only. Raises UserError where a commit is not there, or holds a file that cannot be read.
    """
    a, b = read_revision(first), read_revision(second)
    changed = changed_files(a, b)
    between = f"between A = `{a.name}` ({a.commit[:10]}) and B = `{b.name}` ({b.commit[:10]})"
    maps = {preset: map_changes(a, b, preset) for preset in sorted({*a.presets, *b.presets})}
    rerun = any(path.startswith("results/") for path in changed)
    if not changed:
        sections = [f"**Nothing changed** {between}: they hold the same files."]
    else:
        sections = [_verdict(maps, between, rerun), _parameters(a, b), _code(code_changes(a, b, changed))]
        sections += [_preset(a, b, preset, changes) for preset, changes in maps.items()]
        sections += [f"{RULE}\n{PAIRED}"] if maps else []
        sections.append(_timings(timings(a), timings(b)))
    text = "\n\n".join(sections)
    if html:
        from harness.revisions.page import revision_page  # jinja2 and markdown-it, which Markdown does not need

        text = revision_page(a, b, text)
    try:
        print(text, flush=True)
    except BrokenPipeError:  # `| head -1` has what it wants; the exit status still counts
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return int(any(change.verdict == FELL for changes in maps.values() for change in changes))


def _verdict(maps: dict[str, list[MapChange]], between: str, rerun: bool) -> str:
    """In words: what fell, what could not be compared. Without a `rerun` no file in results/ differs."""
    if not maps:
        return f"**No results to compare** {between}: neither has any."
    every = [(preset, change) for preset, changes in maps.items() for change in changes]
    fell = [
        f"{preset} {change.model} {_points(change)} (A {_map(change.a)})"
        for preset, change in every
        if change.verdict == FELL
    ]
    compared = [change for _, change in every if not change.obstacle]
    if fell:
        said = f"**mAP fell by more than its interval** {between}: {', '.join(fell)}"
    elif not compared:
        said = f"**No mAP could be compared** {between}"
    elif all(change.verdict == SAME for change in compared):
        said = f"**No mAP changed** {between}{'' if rerun else ': no file in results/ differs'}"
    else:
        said = f"**No mAP fell by more than its interval** {between}"
    left_out = []
    for preset, changes in maps.items():
        for obstacle in dict.fromkeys(change.obstacle for change in changes if change.obstacle):
            models = [change.model for change in changes if change.obstacle == obstacle]
            left_out.append(f"{preset} {'all' if len(models) == len(changes) else ', '.join(models)} ({obstacle})")
    return f"{said}. Not compared: {'; '.join(left_out)}." if left_out else f"{said}."


def _parameters(a: Revision, b: Revision) -> str:
    changes = parameter_changes(a, b)
    if not changes:
        return "**Parameters** (params.yaml): unchanged."
    rows = [(key, _text(old), _text(new)) for key, old, new in changes]
    return f"**Parameters** (params.yaml)\n\n{_grid(('key', 'A', 'B'), rows, words=3)}"


def _code(change: CodeChange) -> str:
    lines = []
    for stages, files in change.files.items():
        named = (f"`{path}`{STATUS.get(letter, '')}" for path, letter in files.items())
        lines.append(f"- {', '.join(stages)}: {', '.join(named)}")
    if change.stages:
        lines.append(f"- dvc.yaml: {', '.join(change.stages)}")
    others = f"{change.others} other changed files" if change.others != 1 else "1 other changed file"
    also = f" No stage depends on {others}." if change.others else ""
    if not lines:
        return f"**Code that stages depend on**: unchanged.{also}"
    return "\n".join([f"**Code that stages depend on**, by stage.{also}", "", *lines])


def _preset(a: Revision, b: Revision, preset: str, maps: list[MapChange]) -> str:
    title = f"### {preset}"
    for here, there, only in ((a, b, "A"), (b, a, "B")):
        if preset not in there.presets:
            scored = ", ".join(f"{one.model} {_map(one.a if here is a else one.b)}" for one in maps)
            return f"{title}\n\nOnly {only} has results of this preset{f' (mAP in %): {scored}' if scored else ''}."
    return "\n\n".join([title, _records(a, b, preset), _maps(maps), _pairs(pairs(a, preset), pairs(b, preset))])


def _records(a: Revision, b: Revision, preset: str) -> str:
    title = "**What made the results** (data fingerprint, parameters, library versions, device, as recorded)"
    rows = [(one.key, _text(one.old), _text(one.new), one.where) for one in record_changes(a, b, preset)]
    return f"{title}\n\n{_grid(('record', 'A', 'B', 'results'), rows, words=4)}" if rows else f"{title}: unchanged."


def _maps(changes: Sequence[MapChange]) -> str:
    title = "**mAP** in %, ± the half width of the 95% interval over clips"
    if all(change.verdict == SAME for change in changes):
        return f"{title}: {'unchanged' if changes else 'none'}."
    rows = [
        (
            change.model,
            change.verdict,
            ", ".join(map(str, change.seeds)),
            _map(change.a),
            _map(change.b),
            _points(change),
            _span(change.low, change.high),
        )
        for change in changes
    ]
    return f"{title}\n\n{_grid(('model', 'verdict', 'seeds', 'A', 'B', 'B - A', '95%, paired'), rows, words=3)}"


def _pairs(old: dict[str, Pair], new: dict[str, Pair]) -> str:
    title = "**DCLS - baseline**, mAP in % with the 95% interval over seeds and clips"
    if old == new:
        return f"{title}: {'unchanged' if old else 'none'}."
    rows = [(model, _pair(old.get(model)), _pair(new.get(model))) for model in {**old, **new}]
    return f"{title}\n\n{_grid(('model', 'A', 'B'), rows, words=3)}"


def _timings(old: dict[str, Timing], new: dict[str, Timing]) -> str:
    title = "**Throughput** in clips/s (95% interval), full-size models of 527 classes"
    if old == new:
        return f"{title}: {'unchanged' if old else 'none'}."
    rows = []
    for model in {**old, **new}:
        a, b = old.get(model), new.get(model)
        ratio = NONE if not a or not b else f"{b.throughput / a.throughput:.2f}" if _on(a) == _on(b) else "other device"
        rows.append((model, _rate(a), _rate(b), ratio, _ratio(a), _ratio(b)))
    header = ("model", "A", "B", "B / A", "DCLS / baseline A", "DCLS / baseline B")
    on = {name: " | ".join(sorted(set(map(_on, some.values())))) or NONE for name, some in (("A", old), ("B", new))}
    where = f"Both on {on['A']}" if on["A"] == on["B"] else f"A on {on['A']}; B on {on['B']}"
    note = "DCLS / baseline is taken within rounds in one process, B / A is not."
    return f"{title}\n\n{_grid(header, rows, words=1)}\n\n{where}. {note}"


def _on(timing: Timing) -> str:
    """What has to be the same for two timings to compare, in words."""
    return f"{timing.condition.device} (threads: {timing.record['threads']}), {timing.condition.words}"


def _ratio(timing: Timing | None) -> str:
    if timing is None or timing.ratio is None:
        return NONE
    return f"{timing.ratio:.2f} ({span(timing.ratio_low, timing.ratio_high)}) {timing.verdict}"


def _grid(header: tuple[str, ...], rows: Sequence[tuple[str, ...]], words: int) -> str:
    return markdown_grid(Grid("", header, tuple(rows), words))


def _text(value: Any) -> str:
    """A JSON value; a hash in short; `-` where there is none."""
    if value is None:
        return NONE
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text[:12] if len(text) == 64 and text.isalnum() else text


def _points(change: MapChange) -> str:
    return NONE if change.difference is None else f"{100 * change.difference:+.2f}"


def _map(mean: Mean | None) -> str:
    return NONE if mean is None else f"{100 * mean.mean:.2f} ± {100 * mean.arm:.2f}"


def _span(low: float | None, high: float | None) -> str:
    return NONE if low is None or high is None else span(100 * low, 100 * high, "+")


def _pair(pair: Pair | None) -> str:
    if pair is None:
        return NONE
    interval = _span(pair.low, pair.high)
    return f"{100 * pair.mean:+.2f}{'' if interval == NONE else f' ({interval})'} {pair.words}"


def _rate(timing: Timing | None) -> str:
    return NONE if timing is None else rate_span(timing.throughput, timing.low, timing.high)
