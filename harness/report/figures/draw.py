"""The figures stage: pictures of the results, and report.md, which shows them below the table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

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
from harness.report.figures.compared_systems import differences_by_epoch, system_scores
from harness.report.figures.example_clips import example_clips
from harness.report.figures.kernel_maps import dense_kernels
from harness.report.figures.kernel_motion import kernel_motion
from harness.report.figures.kernel_positions import kernel_animation, kernel_positions
from harness.report.figures.learning_curves import learning_curves
from harness.report.figures.speed import step_time, throughput_by_batch
from harness.report.frames import Frames, load_frames
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
    timed = frames.condition
    found = [
        Picture(
            *("system_scores", "mAP by system", system_scores),
            f"Test mAP of each system: rings are {frames.repeats}, the bar is their mean with its 95% interval. "
            "Dashed: logistic regression on log-mel statistics; dotted: chance.",
        ),
        Picture(
            *("differences_by_epoch", "Differences by training length", differences_by_epoch),
            f"Difference of validation mAP at equal epochs, mean and range {over}; above 0 the first system leads.",
        ),
        Picture(
            *("learning_curves", "Learning curves", learning_curves),
            "Training loss (augmented, mixed clips) and validation mAP by epoch"
            f"{f', mean and range {over}' if several else ''}.",
        ),
        Picture(
            *("class_differences", "Difference by class", class_differences),
            f"Test average precision of each class, DCLS minus baseline, mean {over}, with its 95% interval over clips "
            "(paired bootstrap). Where nothing differs, one interval in twenty still leaves out 0.",
        ),
        Picture(
            *("accuracy_and_cost", "mAP against throughput and parameters", accuracy_and_cost),
            f"Test mAP (bars: standard deviation {over}) against throughput (bars: 95% intervals) and against "
            "parameters, with arrows from baseline to DCLS. Throughput is that of the full-size models; the published "
            "parameters include heads of 1000 classes.",
        ),
        Picture(
            *("calibration", "Calibration", calibration),
            f"Share of positives among the pairs of test clip and class by their score{together}; bins of fewer than "
            f"{FEWEST} pairs are not drawn. The error is the expected calibration error over all bins.",
        ),
        Picture(
            *("throughput_by_batch", "Throughput against batch size", throughput_by_batch),
            f"Clips a second of the full-size models (bars: 95% intervals) on {timed.device}, {timed.precision}, "
            "eager. docs/throughput.md says how it was measured.",
        ),
        Picture(
            *("step_time", "Where a step's time goes", step_time),
            f"Milliseconds of each part of a forward pass and of a training step on {timed.device}, measured with "
            "PyTorch's profiler, which slows steps down. The percentages are the share of the depthwise convolutions.",
        ),
    ]
    for model in filter(frames.is_dcls, frames.models):
        found += _of_kernels(frames, model, together)
    caption = (
        "Log-mels of a few test clips, chosen by their labels alone (above each), and the classes to which the models "
        f"of seed {seed} give the highest scores."
    )
    return [*found, Picture("example_clips", "Example clips", example_clips, caption)]


def _of_kernels(frames: Frames, model: str, together: str) -> list[Picture]:
    """The figures of one DCLS model's kernels."""
    system, seed = frames.title(model), frames.seeds[0]
    near = [f"{band_spacing(hertz):.0f} Hz" for hertz in (1000, 8000)]
    lacking = "" if "at_border" in frames.positions else "; quantiles and more were not recorded by this run"
    return [
        Picture(
            *(f"positions_{model}", f"Kernel positions, {system}", partial(kernel_positions, model=model)),
            f"Share of the DCLS elements in each cell of the kernel by stage{together}; white cells have none, hatched "
            "ones lie outside every map. The "
            f"paths are those of a fixed, random sample of seed {seed}; near 1 kHz a mel band is {near[0]} wide, near "
            f"8 kHz {near[1]}.",
            partial(kernel_animation, model=model),
        ),
        Picture(
            *(f"motion_{model}", f"Kernels over time, {system}", partial(kernel_motion, model=model)),
            "How far elements are from their start, the share that moved more than a cell, the effective support (sum "
            "of |k|)^2 / (cells x sum of k^2) of the kernels, the spread |SIG| and the gradient of P; quantiles are "
            f"means over {frames.repeats}{lacking}. Elements on cells outside every map have no gradient and stay.",
        ),
        Picture(
            *(f"kernels_{model}", f"Dense kernels, {system}", partial(dense_kernels, model=model)),
            f"Kernels of evenly spaced channels in the first layer of each stage before and after training, seed "
            f"{seed}. Each has its own colour scale, whose end stands in its corner.",
        ),
    ]


def draw_figures(chosen: Params | Selection, file_format: str = "png") -> None:
    """Write the figures into results/PRESET/figures.

    As PNG: also the animations, figures.json, which lists all with their captions, and results/PRESET/report.md, which
    takes in table1.md. As SVG or PDF: nothing but these. Runs of older code recorded less: what they lack is left out,
    and the report says so. Raises UserError where a result file or table1.md is missing.
    """
    frames = load_frames(chosen)
    results = paths.results(chosen.preset)
    table = read_text(paths.tables(chosen.preset) / "table1.md").rstrip()
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
    parts, line = [table], made_by(frames).line
    for one in drawn:
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
