"""Where a step's time goes: parts of the model as stacked bars, baseline beside DCLS."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from harness.base.errors import UserError
from harness.config.systems import MODELS, baseline_of, is_dcls, method_of
from harness.report import style
from harness.report.load import Results
from harness.throughput import rows
from harness.throughput.condition import MODES
from harness.throughput.device import breakdown_file

# the depthwise part, which is what differs, has the model's own colour; the others are greys
GREYS = {"stem": "#4D4D4D", "pointwise": "#8C8C8C", "attention": "#B8B8B8", "rest": "#E0E0E0"}
PARTS = ("depthwise", "stem", "pointwise", "attention", "rest")  # from below

Times = dict[tuple[str, str], dict[str, float]]  # milliseconds by part, by model and mode


def step_time(results: Results) -> Figure | None:
    """A panel a mode, a pair of bars a backbone, in milliseconds; None where no step was profiled on this device."""
    times = _times(results)
    modes = [mode for mode in MODES if any(mode == one for _, one in times)]
    if not modes:
        return None
    figure = Figure(figsize=(style.WIDTH, 4.4), layout="constrained")
    for mode, axes in zip(modes, figure.subplots(1, len(modes), squeeze=False)[0], strict=True):
        _bars(axes, times, mode, results)
        axes.set_title(mode)
    figure.axes[0].set_ylabel("milliseconds a step")
    first = next(filter(is_dcls, MODELS))
    depthwise = [
        Patch(color=style.colour(model), label=f"depthwise, {method_of(model)}")
        for model in (baseline_of(first), first)
    ]
    others = [Patch(color=colour, label=part) for part, colour in GREYS.items()]
    figure.legend(handles=[*depthwise, *others], loc="outside lower center", ncols=6, handlelength=1.2)
    return figure


def _times(results: Results) -> Times:
    """The rows of this device's newest batch. Raises UserError where one is damaged."""
    reference = next(iter(results.timings.values()))
    path = breakdown_file(reference.condition.device)
    known = {name: rows.text(getattr(reference.dcls, name)) for name in rows.DCLS}
    found: Times = {}
    try:
        for row in sorted(rows.read(path, rows.BREAKDOWN), key=lambda row: row["date"]):
            if all(row[name] == value for name, value in known.items()):
                found.setdefault((row["model"], row["mode"]), {})[row["part"]] = float(row["milliseconds"])
    except ValueError as error:
        raise UserError(f"{path}: {error}; restore it from Git, or measure again") from error
    return found


def _bars(axes: Axes, times: Times, mode: str, results: Results) -> None:
    models = [model for model in MODELS if is_dcls(model)]
    for place, dcls in enumerate(models):
        for side, model in ((-0.2, baseline_of(dcls)), (0.2, dcls)):
            _bar(axes, place + side, model, times.get((model, mode), {}))
    axes.set_xticks(range(len(models)), [results.published[model].backbone for model in models])
    axes.grid(False, axis="x")


def _bar(axes: Axes, place: float, model: str, parts: dict[str, float]) -> None:
    bottom = 0.0
    for part in PARTS:
        height = parts.get(part, 0.0)
        colour = style.colour(model) if part == "depthwise" else GREYS[part]
        axes.bar(place, height, 0.36, bottom, color=colour, edgecolor="white", linewidth=0.5)
        bottom += height
    if parts:
        share = parts.get("depthwise", 0.0) / bottom
        axes.annotate(f"{100 * share:.0f}%", (place, bottom), ha="center", va="bottom", fontsize=9, color=style.GREY)
