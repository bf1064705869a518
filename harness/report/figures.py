"""The figures stage: pictures of the results, and a page that shows them with the table."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from harness.audio.units import band_spacing
from harness.base import paths
from harness.base.files import write_json, write_text
from harness.config.params import Params
from harness.config.systems import is_dcls
from harness.report import recorded, style
from harness.report.class_differences import class_differences
from harness.report.element_paths import element_paths
from harness.report.example_clips import example_clips
from harness.report.kernel_motion import available, kernel_motion
from harness.report.kernel_pictures import kernel_pictures
from harness.report.learning_curves import learning_curves
from harness.report.load import Results, load_results, read_text, table_folder
from harness.report.made_by import made_by
from harness.report.parameters_and_map import map_against_parameters
from harness.report.position_animation import position_animation
from harness.report.position_maps import position_maps
from harness.report.reliability import FEWEST, reliability
from harness.report.selection import Selection
from harness.report.speed_and_map import map_against_throughput
from harness.report.step_time import step_time
from harness.report.throughput_by_batch import throughput_by_batch


def figures(params: Params | Selection) -> None:
    """Write results/PRESET/figures/*.png, *.svg and *.gif, figures.json, which lists them with their captions, and
    results/PRESET/report.md, which takes in table1.md.

    Raises UserError where a result file or table1.md is missing. Runs of older code recorded less: what they lack is
    left out, and the report says so.
    """
    results = load_results(params)
    parts = [read_text(table_folder(params.preset) / "table1.md").rstrip()]
    line, drawn = made_by(results).line, list(_drawn(results))
    for heading, name, caption in drawn:
        parts += [
            f"## {heading}",
            f"![{heading}](figures/{name}.png)",
            f"{caption} ({line}; [SVG](figures/{name}.svg)).",
        ]
    index = [{"name": name, "heading": heading, "caption": caption} for heading, name, caption in drawn]
    write_json(paths.results(params.preset) / "figures" / "figures.json", index)
    if lacking := not_recorded(results):
        parts.append(f"Left out, as {recorded.NOT_RECORDED}: {', '.join(lacking)}.")
    page = paths.results(params.preset) / "report.md"
    write_text(page, "\n\n".join(parts) + "\n")
    print(f"{page}")


def not_recorded(results: Results) -> list[str]:
    """What the figures would show of these runs had they recorded it."""
    files = [
        (name, paths.run_results(results.preset, model, results.seeds[0]) / file)
        for model in results.models
        for name, file in (
            ("paths of elements", "training/trajectories.csv"),
            ("dense kernels", "training/kernels.csv"),
            ("calibration", "evaluation/calibration.csv"),
        )
    ]
    files.append(("example clips", paths.results(results.preset) / "examples" / "examples.json"))
    return list(dict.fromkeys(name for name, path in files if not path.exists()))


def _drawn(results: Results) -> Iterator[tuple[str, str, str]]:
    """Draw the figures; give heading, file name and caption of each."""
    folder = paths.results(results.preset) / "figures"
    band = f", mean and range over {results.repeats}" if len(results.seeds) > 1 else ""
    if style.draw(folder / "learning_curves", partial(learning_curves, results)):
        yield (
            "Learning curves",
            "learning_curves",
            f"Training loss (augmented, mixed clips) and validation mAP by epoch{band}",
        )
    if style.draw(folder / "class_differences", partial(class_differences, results)):
        yield (
            "Difference by class",
            "class_differences",
            f"Test average precision of each class, DCLS minus baseline, mean over {results.repeats}, with its 95% "
            "interval over clips (paired bootstrap, for these weights; none for a class of few positives). Where "
            "nothing differs, one interval in twenty leaves out 0 all the same; [CSV](per_class_difference.csv)",
        )
    style.draw(folder / "map_against_throughput", partial(map_against_throughput, results))
    yield (
        "mAP against throughput",
        "map_against_throughput",
        f"Test mAP (bars: standard deviation over {results.repeats}) of the trained models against the throughput of "
        "the full-size ones (bars: 95% intervals), with arrows from baseline to DCLS, beside the published points",
    )
    style.draw(folder / "map_against_parameters", partial(map_against_parameters, results))
    yield (
        "mAP against parameters",
        "map_against_parameters",
        f"Test mAP (bars: standard deviation over {results.repeats}) against the trainable parameters of the models "
        "that were trained, beside the published points, whose parameters count heads of 1000 classes",
    )
    if style.draw(folder / "calibration", partial(reliability, results)):
        yield (
            "Calibration",
            "calibration",
            f"How often a class is there among the pairs of test clip and class that have a score, by bins of the score"
            f"{recorded.many(results)}; bins of fewer than {FEWEST} pairs are not drawn. The error is the expected "
            "calibration error over all bins. Label smoothing and mixup, where a run trains with them, move scores "
            "away from 0 and 1",
        )
    timing = next(iter(results.timings.values()))
    style.draw(folder / "throughput_by_batch", partial(throughput_by_batch, results))
    yield (
        "Throughput against batch size",
        "throughput_by_batch",
        f"Clips a second of the full-size models (bars: 95% intervals) on {timing.condition.device}, "
        f"{timing.condition.precision}, eager; docs/throughput.md says how it was measured",
    )
    if style.draw(folder / "step_time", partial(step_time, results)):
        yield (
            "Where a step's time goes",
            "step_time",
            f"Milliseconds of the parts of a forward pass and of a training step on {timing.condition.device}, from "
            "PyTorch's profiler, which makes steps slower than they are untouched; above each bar the share of the "
            "depthwise convolutions. The rest is norms, activations, other convolutions, the loss and the optimizer",
        )
    for model in filter(is_dcls, results.models):
        yield from _kernels_drawn(results, model)
    for model in filter(is_dcls, results.models):
        if style.draw(folder / f"examples_{model}", partial(example_clips, results, model)):
            yield (
                f"Example clips, {results.published[model].backbone}",
                f"examples_{model}",
                "Log-mels of a few test clips, chosen by their labels alone (those above each), and the classes that "
                f"baseline and DCLS of seed {results.seeds[0]} give the highest scores, filled where the clip has them",
            )


def _kernels_drawn(results: Results, model: str) -> Iterator[tuple[str, str, str]]:
    """The same of one DCLS model's kernels."""
    folder, backbone = paths.results(results.preset) / "figures", results.published[model].backbone
    cell = (
        "A cell of the kernel is a cell of the stage's feature map: the stem takes 2 mel bands x 16 frames of 10 ms to "
        "a cell, each later stage twice as many of both; near 1 kHz a band is "
        f"{band_spacing(1000):.0f} Hz from the next, near 8 kHz {band_spacing(8000):.0f} Hz"
    )
    if style.draw(folder / f"positions_{model}", partial(position_maps, results, model)):
        moving = style.animate(folder / f"positions_{model}", partial(position_animation, results, model))
        yield (
            f"Kernel positions, {backbone}",
            f"positions_{model}",
            "Where the elements of the DCLS kernels are at the recorded epochs (of published weights: where they are), "
            f"a row a stage, on one colour scale{recorded.many(results)}; white: none; cut to the cells in use. {cell}"
            + (f"; [animation](figures/positions_{model}.gif)" if moving else ""),
        )
    if style.draw(folder / f"paths_{model}", partial(element_paths, results, model)):
        yield (
            f"Paths of kernel elements, {backbone}",
            f"paths_{model}",
            "Where a fixed, random sample of the elements of each stage went from the start to the last epoch; "
            f"seed {results.seeds[0]}, each stage with limits of its own. {cell}",
        )
    if style.draw(folder / f"motion_{model}", partial(kernel_motion, results, model)):
        lacking = "" if "at_border" in available(results, model) else f"; quantiles and more: {recorded.NOT_RECORDED}"
        yield (
            f"Kernels over time, {backbone}",
            f"motion_{model}",
            "By stage and epoch: how far the elements are from where they started; their spread |SIG|; how much of the "
            "kernel is used, as the effective support (sum of |k|)^2 / (cells x sum of k^2) of the dense kernels; the "
            f"share of elements in the kernel's outermost cells. Quantiles are means over {results.repeats}{lacking}",
        )
    if style.draw(folder / f"kernels_{model}", partial(kernel_pictures, results, model)):
        yield (
            f"Dense kernels, {backbone}",
            f"kernels_{model}",
            "Dense kernels of evenly spaced channels in the first layer of each stage before and after training, "
            f"seed {results.seeds[0]}, each on its own colour scale, whose end stands in its corner. {cell}",
        )
