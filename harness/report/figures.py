"""The figures stage: pictures of the results, and a page that shows them with the table."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from harness import paths
from harness.files import write_text
from harness.params import Params
from harness.report import style
from harness.report.class_differences import class_differences
from harness.report.learning_curves import learning_curves
from harness.report.load import Results, load_results, read_text, table_folder
from harness.report.made_by import made_by
from harness.report.position_maps import position_maps
from harness.report.speed_and_map import map_against_throughput
from harness.report.step_time import step_time
from harness.report.throughput_by_batch import throughput_by_batch
from harness.systems import is_dcls


def figures(params: Params) -> None:
    """Write results/PRESET/figures/*.png and *.svg, and results/PRESET/report.md, which takes in table1.md.

    Raises UserError where a result file or table1.md is missing.
    """
    results = load_results(params)
    parts = [read_text(table_folder(params.preset) / "table1.md").rstrip()]
    line = made_by(results).line
    for heading, name, caption in _drawn(results):
        parts += [
            f"## {heading}",
            f"![{heading}](figures/{name}.png)",
            f"{caption} ({line}; [SVG](figures/{name}.svg)).",
        ]
    page = paths.results(params.preset) / "report.md"
    write_text(page, "\n\n".join(parts) + "\n")
    print(f"{page}")


def _drawn(results: Results) -> Iterator[tuple[str, str, str]]:
    """Draw the figures; give heading, file name and caption of each."""
    folder = paths.results(results.preset) / "figures"
    one = results.repeats.removesuffix("s")
    means = f", each {one} thin and their mean thick" if len(results.seeds) > 1 else ""
    if style.draw(folder / "learning_curves", partial(learning_curves, results)):
        yield (
            "Learning curves",
            "learning_curves",
            f"Training loss (augmented, mixed clips) and validation mAP by epoch{means}",
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
        if style.draw(folder / f"positions_{model}", partial(position_maps, results, model)):
            yield (
                f"Kernel positions, {results.published[model].backbone}",
                f"positions_{model}",
                "Where the elements of the DCLS kernels are at the recorded epochs, by stage on one colour scale, and "
                "their mean distance from where they started (of published weights: where they are)",
            )
