"""The figures stage: pictures of the results, and report.md, which shows them below the table."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure

from harness.audio.units import band_spacing
from harness.base import paths
from harness.base.files import read_text, write_json, write_text
from harness.config.params import Params
from harness.report.examples import recorded_examples
from harness.report.figures import theme
from harness.report.figures.accuracy_and_cost import accuracy_and_cost
from harness.report.figures.calibration import FEWEST, calibration
from harness.report.figures.class_differences import class_differences
from harness.report.figures.example_clips import example_clips
from harness.report.figures.kernel_maps import dense_kernels
from harness.report.figures.kernel_motion import kernel_motion, position_gradients
from harness.report.figures.kernel_positions import kernel_animation, kernel_positions, outside_shares
from harness.report.figures.learning_curves import differences_by_epoch, learning_curves
from harness.report.figures.speed import step_time, throughput_by_batch
from harness.report.figures.systems import systems
from harness.report.frames import Frames, load_frames
from harness.report.lead import PICTURE, lead
from harness.report.made_by import made_by
from harness.report.selection import Selection


@dataclass(frozen=True)
class Picture:
    """A figure of the report; `draw` gives None where the results lack what it shows, `animate` no figures."""

    name: str
    heading: str
    draw: Callable[[Frames], Figure | None]
    caption: str
    animate: Callable[[Frames], list[Figure]] = lambda _: []


def pictures(frames: Frames) -> list[Picture]:
    """All figures, in the order in which the report shows them; captions of at most two sentences."""
    several, over, seed = len(frames.seeds) > 1, f"over {frames.repeats}", frames.seeds[0]
    together = f", {len(frames.seeds)} {frames.repeats} together" if several else ""
    main = " and ".join(dict.fromkeys(frames.systems[one].method for one in frames.main.values()))
    found = [
        Picture(
            *(PICTURE, "What was found", systems),
            f"Left the test mAP of each system with Student's 95% interval {over}; right the paired differences with "
            f"their 95% interval {over} and clips, and what each says of the claim that it is above 0.",
        ),
        Picture(
            *("differences_by_epoch", "Differences by length of training", differences_by_epoch),
            f"Difference of the validation mAPs at equal epochs, mean {over} in its 95% interval (Student's t). Pairs "
            "that are not fair are left out.",
        ),
        Picture(
            *("learning_curves", "Learning curves", learning_curves),
            "Training loss (augmented, mixed clips) and validation mAP by epoch"
            f"{f', mean and range {over}' if several else ''}.",
        ),
        Picture(
            *("class_differences", "Difference by class", class_differences),
            f"Test average precision of each class, {main} minus baseline, mean {over}, with its 95% interval over "
            "clips (paired bootstrap). Where nothing differs, one interval in twenty still leaves out 0.",
        ),
        Picture(
            *("accuracy_and_cost", "mAP against throughput and parameters", accuracy_and_cost),
            f"Test mAP (bars: standard deviation {over}) against throughput (bars: 95% intervals) and against "
            "parameters, with arrows from each baseline. Throughput is that of the full-size models; the published "
            "parameters include heads of 1000 classes.",
        ),
        Picture(
            *("calibration", "Calibration", calibration),
            f"Share of positives among the pairs of test clip and class by their score{together}; bins of fewer than "
            f"{FEWEST} pairs are not drawn. The error is the expected calibration error over all bins.",
        ),
        Picture(
            *("throughput_by_batch", "Throughput against batch size", throughput_by_batch),
            f"Clips a second of the full-size models (bars: 95% intervals) on {frames.timed_device}, float32, "
            "eager. docs/throughput.md says how it was measured.",
        ),
        Picture(
            *("step_time", "Where a step's time goes", step_time),
            f"Milliseconds of each part of a forward pass and of a training step on {frames.timed_device}, measured "
            "with PyTorch's profiler, which slows steps down. The percentages are those of the depthwise convolutions.",
        ),
    ]
    for model in frames.main.values():
        found += _of_kernels(frames, model, together)
    found.append(
        Picture(
            *("position_gradients", "What pulls at the elements", position_gradients),
            f"Root mean square of the gradient of the positions ({main}) at the last step of each recorded epoch, mean "
            f"{over}.",
        )
    )
    caption = (
        "Log-mels of a few test clips, chosen by their labels alone (above each), and the classes to which the models "
        f"of seed {seed} give the highest scores."
    )
    return [*found, Picture("example_clips", "Example clips", example_clips, caption)]


def _of_kernels(frames: Frames, model: str, together: str) -> list[Picture]:
    """The figures of a backbone's kernels, above all of its main DCLS model's."""
    backbone, seed = frames.backbone(model), frames.seeds[0]
    near = [f"{band_spacing(hertz):.0f} Hz" for hertz in (1000, 8000)]
    lacking = "" if "moved" in frames.positions else "; what is not here was not recorded by this run"
    return [
        Picture(
            *(f"positions_{model}", f"Kernel positions, {backbone}", partial(kernel_positions, model=model)),
            f"Share of the elements in each cell of the kernel by stage{together}; white cells have none, grey ones "
            "lie outside every feature map and meet padding alone. The paths are those of a fixed, random sample of "
            f"seed {seed}; near 1 kHz a mel band is {near[0]} wide, near 8 kHz {near[1]}.",
            partial(kernel_animation, model=model),
        ),
        Picture(
            *(f"motion_{model}", f"Kernels over time, {backbone}", partial(kernel_motion, backbone=backbone)),
            "Share of the elements more than a cell from where they started, that distance, the effective support (sum "
            "of |k|)^2 / (cells x sum of k^2) of the dense kernels, and the elements' spread |SIG|: medians in a band "
            f"of the middle half, means over {frames.repeats}{lacking}.{_beyond(frames, model)}",
        ),
        Picture(
            *(f"kernels_{model}", f"Dense kernels, {backbone}", partial(dense_kernels, model=model)),
            f"Kernels of evenly spaced channels in the first layer of each stage before and after training, seed "
            f"{seed}. Each has its own colour scale, whose end stands in its corner.",
        ),
    ]


def _beyond(frames: Frames, model: str) -> str:
    """Why elements of late stages hardly move, in a sentence; empty where none lies outside every map."""
    shares = [f"{share:.0f}% (stage {stage})" for stage, share in outside_shares(frames, model).items() if share >= 1]
    if not shares:
        return ""
    return f" Of the elements {', '.join(shares)} end outside every feature map, where next to nothing pulls at them."


def draw_figures(chosen: Params | Selection, file_format: str = "png") -> None:
    """Write the figures into results/PRESET/figures.

    As PNG: also the animations, figures.json, which lists all with their captions, and results/PRESET/report.md, which
    takes in the first two tables. As SVG or PDF: nothing but these. Runs of older code recorded less: what they lack is
    left out, and the report says so. Raises UserError where a result file or a table is missing.
    """
    frames = load_frames(chosen)
    results = paths.results(chosen.preset)
    tables = [read_text(paths.tables(chosen.preset) / f"{name}.md").rstrip() for name in ("table1", "comparisons")]
    folder, drawn, written = results / "figures", [], set()
    for one in pictures(frames):
        if theme.save(folder / one.name, partial(one.draw, frames), file_format):
            drawn.append(one)
            written.add(f"{one.name}.{file_format}")
            if file_format == "png" and theme.save_animation(folder / one.name, partial(one.animate, frames)):
                written.add(f"{one.name}.gif")
    if file_format != "png":
        print(f"{folder}: {len(drawn)} figures as {file_format}")
        return
    for stale in {*folder.glob("*.png"), *folder.glob("*.gif")}:
        if stale.name not in written:
            stale.unlink()
    index = [{"name": one.name, "heading": one.heading, "caption": one.caption} for one in drawn]
    write_json(folder / "figures.json", index)
    first, line = lead(chosen.preset), made_by(frames).line
    picture = Path(os.path.relpath(first.picture, results)).as_posix()
    shown = f"![What was found, preset {first.preset}]({picture})\n\n{drawn[0].caption}"
    parts = [f"# {first.sentence}", shown, f"*{line}.*", *tables]
    for one in (one for one in drawn if (one.name, chosen.preset) != (PICTURE, first.preset)):
        moving = f"\n\n[Animation](figures/{one.name}.gif)" if f"{one.name}.gif" in written else ""
        parts.append(f"## {one.heading}\n\n![{one.heading}](figures/{one.name}.png)\n\n{one.caption}{moving}")
        parts.append(f"*{line}.*")
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
        "example clips": recorded_examples(frames),
    }
    return [name for name, rows in found.items() if not len(rows)]
