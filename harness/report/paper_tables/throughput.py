"""Every device that was timed, beside the paper's ratios and the project's goals."""

from __future__ import annotations

import pandas as pd

from harness.report.frames import Frames
from harness.report.made_by import MadeBy
from harness.report.paper_tables.numbers import NONE, number, rate, span
from harness.report.paper_tables.table import Column, Table, View, cells_from, view
from harness.report.timing_frames import FLAGS, architecture, fairest
from harness.throughput import rows

CONDITION = tuple(name for name in rows.CONDITION if name != "device")
COLUMNS = (
    *("device", *rows.ARCHITECTURE, "baseline", *CONDITION, "status", "fairest"),
    *("ratio_published", "ratio", "ratio_low", "ratio_high", "noise", "in_words", "throughput", "revision"),
)
KEY = COLUMNS[: COLUMNS.index("status")]
NOTES = (
    "A ratio is the speed of a model over its baseline's: above 1, the model is the faster one. The two take turns, "
    "and the median over the rounds has a 95% interval.",
    "Noise: how far from 1 the baseline's ratio to itself gets. A smaller difference is none.",
    "Each condition is shown at the largest batch that ran. The CSV beside this page has all.",
    "The published ratio is from the authors' GPU; under which condition is not known.",
    "How fast DCLS is against the published package is measured by `make bench`: see dcls/README.md.",
)
HIGH_END = "H100|H200|GH200"
GOALS = (  # in words, which rows, and the smallest ratio wanted of them; None: the published one of the pair
    (
        "inference, bf16, compiled: ratio at least 0.95",
        "mode == 'inference' and precision == 'bf16' and compiled == 'yes' and fused == 'no'",
        0.95,
    ),
    (
        "inference, float32: ratio at least the published one",
        "mode == 'inference' and precision == 'float32' and compiled == 'no' and fused == 'no'",
        None,
    ),
    ("training: ratio at least 0.85", "mode == 'training'", 0.85),
)


def throughput(frames: Frames, by: MadeBy) -> Table:
    """A row a condition and architecture of a system with a baseline, on every device that was timed."""
    found = _pairs(frames)
    timed = found[found.ratio.notna()]
    measured = [name for name in COLUMNS if name != "ratio_published"]
    devices = (_device(str(device), one) for device, one in timed.groupby("device", sort=False))
    return Table(
        name="throughput",
        title="Throughput against the baseline, on every device that was timed",
        cells=cells_from("row", (found, ["source"], measured), (found, ["published_file"], ["ratio_published"])),
        columns=COLUMNS,
        views=(*devices, _goals(timed)),
        facts=tuple(fact for fact in by.facts if fact[0] == "Timing"),
        notes=NOTES,
    )


def _pairs(frames: Frames) -> pd.DataFrame:
    """The timings of systems with a baseline, with COLUMNS, `row` (the name) and `published_file`."""
    compared = [(*architecture(one), name) for name, one in frames.systems.items() if frames.baseline(name)]
    named = pd.DataFrame(compared, columns=[*rows.ARCHITECTURE, "model"]).drop_duplicates(list(rows.ARCHITECTURE))
    published = frames.published[["model", "speed_ratio", "source"]].rename(columns={"source": "published_file"})
    found = frames.timings.merge(named.merge(published, on="model", how="left"), on=[*rows.ARCHITECTURE])
    best = [fairest(one, frames.systems) for _, one in frames.timings.groupby("device", sort=False)]
    chosen = pd.concat([found.head(0), *best])[["device", *rows.ARCHITECTURE, *CONDITION]]
    found = found.merge(chosen.assign(fairest="yes"), how="left", on=list(chosen))
    found = found.assign(
        fairest=found.fairest.fillna("no"),
        ratio_published=found.speed_ratio.where(found["mode"] == "inference"),  # the paper times no training
        noise=found.no_difference_below.where(found.ratio_to_baseline.notna()),
        **{f"ratio{end}": found[f"ratio_to_baseline{end}"] for end in rows.INTERVAL},
        **{name: found[name].map(rows.text) for name in FLAGS},
    )
    return found.assign(row=["-".join(map(str, key)) for key in found[list(KEY)].itertuples(index=False)])


def _device(device: str, timed: pd.DataFrame) -> View:
    """The largest batch of each model and condition, and the rows that stand in table 1, marked."""
    largest = timed.groupby([name for name in KEY if name != "batch"], sort=False).batch.idxmax()
    columns: list[Column] = [
        ("model", "backbone"),
        ("convolution, over its baseline's", lambda one: f"{one.convolution} over {one.baseline}"),
        ("condition", lambda one: f"{one.condition}{' (in table 1)' if one.fairest == 'yes' else ''}"),
        ("clips/s", lambda one: rate(one.throughput)),
        ("ratio published", lambda one: number(one.ratio_published, ".2f")),
        ("here", lambda one: number(one.ratio, ".2f")),
        ("95% interval", lambda one: span(one.ratio_low, one.ratio_high)),
        ("noise", lambda one: number(one.noise, ".3f")),
        ("in words", "in_words"),
    ]
    shown = timed[(timed.fairest == "yes") | timed.index.isin(largest)]
    return view(f"Speed over the baseline's on {device}", shown.itertuples(), columns, words=3)


def _goals(timed: pd.DataFrame) -> View:
    """A line a goal: the pair that is furthest from it on any such GPU, or `not measured`."""
    here = timed[timed.device.str.contains(HIGH_END)]
    cells = []
    for words, which, wanted in GOALS:
        found = here.query(which)
        if found.empty:
            cells.append((words, "not measured", NONE, NONE))
            continue
        margins = found.ratio - (found.ratio_published if wanted is None else wanted)
        worst = found.loc[margins.idxmin()]
        met = "met" if margins.min() >= 0 else "not met"
        cells.append((words, met, number(worst.ratio, ".3f"), f"{worst.backbone}, {worst.condition}, {worst.device}"))
    return View("Goals on a GPU of the H100 class", ("goal", "met", "lowest ratio", "of"), tuple(cells), words=4)
