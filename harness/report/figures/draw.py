"""The figures stage: pictures of the results, and report.md, which shows them below the table."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure

from harness.base import paths
from harness.base.files import read_text, write_json, write_text
from harness.config.params import Params
from harness.report.figures import theme
from harness.report.figures.by_epoch import differences_by_epoch, kernel_motion, learning_curves, position_gradients
from harness.report.figures.classes import FEWEST, calibration, class_differences
from harness.report.figures.example_clips import example_clips
from harness.report.figures.kernels import dense_kernels, kernel_positions, outside_shares
from harness.report.figures.speed import step_time, throughput_by_batch
from harness.report.figures.systems import accuracy_and_cost, systems
from harness.report.frames import Frames, load_frames
from harness.report.made_by import made_by
from harness.report.selection import Selection
from harness.report.show import PICTURE, lead


@dataclass(frozen=True)
class Picture:
    """A figure of the report; `draw` gives None where the results lack what it shows."""

    name: str
    heading: str
    draw: Callable[[Frames], Figure | None]
    caption: str


def pictures(frames: Frames) -> list[Picture]:
    """All figures, in the order in which the report shows them; captions of at most two sentences."""
    several, over = len(frames.seeds) > 1, f"over {frames.repeats}"
    main = " and ".join(dict.fromkeys(frames.method(one) for one in frames.main.values()))
    cost = "throughput and parameters" if frames.full_size else "the parameters that were trained"
    return [
        Picture(
            *(PICTURE, "What was found", systems),
            f"Left: the test mAP of each system, with a 95% interval {over}. Right: the differences between systems, "
            f"with a 95% interval {over} and clips, which decides where it leaves out 0.",
        ),
        Picture(
            *("differences_by_epoch", "Differences by length of training", differences_by_epoch),
            f"How the difference in validation mAP develops during training: mean {over}, with its 95% interval.",
        ),
        Picture(
            *("learning_curves", "Learning curves", learning_curves),
            f"Training loss and validation mAP by epoch{f': mean and range {over}' if several else ''}. The loss is "
            "that on augmented, mixed clips.",
        ),
        Picture(
            *("class_differences", "Difference by class", class_differences),
            f"By class, the test average precision of {main} minus that of the baseline, with a 95% interval over "
            "clips. Even if nothing differed, one interval in twenty would leave out 0.",
        ),
        Picture(
            *("accuracy_and_cost", "mAP against cost", accuracy_and_cost),
            f"Test mAP against {cost}, beside the paper's own points. Arrows lead from each baseline to what replaces "
            "it.",
        ),
        Picture(
            *("calibration", "Calibration", calibration),
            "Among predictions with this score, how often was the class present? Below the dotted line a model is "
            f"overconfident; groups of fewer than {FEWEST} predictions are left out.",
        ),
        Picture(
            *("throughput_by_batch", "Throughput against batch size", throughput_by_batch),
            f"Clips a second of the full-size models on {frames.timed_device} in float32, with 95% intervals. "
            "docs/throughput.md says how it was measured.",
        ),
        Picture(
            *("step_time", "Where a step's time goes", step_time),
            f"How long each part of a forward pass and of a training step takes on {frames.timed_device}, as PyTorch's "
            "profiler has it, which slows steps down. The percentages are the share of the depthwise convolutions.",
        ),
        *(picture for model in frames.main.values() for picture in _of_kernels(frames, model)),
        Picture(
            *("position_gradients", "What pulls at the elements", position_gradients),
            "How strongly training still pulls at the positions: the root mean square of their gradient at the last "
            "step of an epoch.",
        ),
        Picture(
            *("example_clips", "Example clips", example_clips),
            "Log-mel spectrograms of a few test clips with their labels, and the classes that each model of seed "
            f"{frames.seeds[0]} scores highest. The clips were chosen by their labels alone.",
        ),
    ]


def _of_kernels(frames: Frames, model: str) -> list[Picture]:
    """The figures of a backbone's kernels, above all of its main DCLS model's."""
    backbone, seed = frames.backbone(model), frames.seeds[0]
    return [
        Picture(
            *(f"positions_{model}", f"Kernel positions, {backbone}", partial(kernel_positions, model=model)),
            "The darker a cell, the more of the stage's elements lie in it; shaded cells lie outside every feature map "
            f"and only ever meet padding. Right: the ways of some elements of seed {seed}, from ring to dot.",
        ),
        Picture(
            *(f"motion_{model}", f"Kernels over time, {backbone}", partial(kernel_motion, backbone=backbone)),
            "How far elements move, what share of a kernel's cells carries weight (effective support) and how wide an "
            f"element is (SIG): medians, with the middle half shaded.{_beyond(frames, model)}",
        ),
        Picture(
            *(f"kernels_{model}", f"Dense kernels, {backbone}", partial(dense_kernels, model=model)),
            f"Kernels of some channels in the first layer of each stage, before and after training (seed {seed}). The "
            "number in a corner is the largest weight, where the colours end.",
        ),
    ]


def _beyond(frames: Frames, model: str) -> str:
    """Why elements of late stages hardly move, in a sentence; empty where none lies outside every map."""
    shares = [f"{share:.0f}% (stage {stage})" for stage, share in outside_shares(frames, model).items() if share >= 1]
    if not shares:
        return ""
    return f" Outside every feature map, where nearly nothing pulls at them, lie {', '.join(shares)}."


def draw_figures(chosen: Params | Selection, file_format: str = "png") -> None:
    """Write the figures into results/PRESET/figures.

    As PNG: also figures.json, which lists all with their captions, and results/PRESET/report.md, which
    takes in the first two tables. As SVG or PDF: nothing but these. Runs of older code recorded less: what they lack is
    left out, and the report says so. Raises UserError where a result file or a table is missing.
    """
    frames = load_frames(chosen)
    results = paths.results(chosen.preset)
    names = ("table1", "comparisons") if frames.kind == "audioset" else ("comparisons", "table1")
    tables = [read_text(paths.tables(chosen.preset) / f"{name}.md").rstrip() for name in names]
    folder = results / "figures"
    drawn = []
    for one in pictures(frames):
        if theme.save(folder / one.name, partial(one.draw, frames), file_format):
            drawn.append(one)
    if file_format != "png":
        print(f"{folder}: {len(drawn)} figures as {file_format}")
        return
    for stale in {*folder.glob("*.png"), *folder.glob("*.gif")} - {folder / f"{one.name}.png" for one in drawn}:
        stale.unlink()
    index = [{"name": one.name, "heading": one.heading, "caption": one.caption} for one in drawn]
    write_json(folder / "figures.json", index)
    first, line = lead(chosen.preset), made_by(frames).line
    picture = Path(os.path.relpath(first.picture, results)).as_posix()
    shown = f"![What was found, preset {first.preset}]({picture})\n\n{drawn[0].caption}"
    parts = [f"# {first.sentence}", shown, f"*{line}.*", *tables]
    for one in (one for one in drawn if (one.name, chosen.preset) != (PICTURE, first.preset)):
        parts.append(f"## {one.heading}\n\n![{one.heading}](figures/{one.name}.png)\n\n{one.caption}")
    if lacking := not_recorded(frames):
        parts.append(f"Left out, as not recorded by this run: {', '.join(lacking)}.")
    write_text(results / "report.md", "\n\n".join(parts) + "\n")
    print(results / "report.md")


def not_recorded(frames: Frames) -> list[str]:
    """What the figures would show of these runs had they recorded it."""
    found = {
        "paths of elements": frames.trajectories,
        "dense kernels": frames.kernels,
        "calibration": frames.calibration,
        "example clips": frames.examples,
    }
    return [name for name, rows in found.items() if not len(rows)]
