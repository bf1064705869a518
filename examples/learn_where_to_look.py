"""A DCLS layer learns where to look: it finds a teacher's five far-apart taps, which small plain kernels cannot reach.

The teacher is a convolution whose 23x23 kernel is empty but for five taps. Three students see its input and output:
a `dcls.Dcls2d` of 9 elements that all start at the centre, a plain 3x3 convolution, which has as many weights, and a
plain 7x7 convolution, which has as many parameters as DCLS with its positions and spreads. Errors are mean squares on
inputs that no student was trained on, over the variance of the teacher's output: 0 is perfect, 1 is to answer 0.

Needs torch and matplotlib, and about 20 seconds on one core. From the root of the checkout:

    python -m examples.learn_where_to_look
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor, nn

import dcls

SIZE, REACH = 23, 11
TAPS = ((-9, -8, 1.0), (-7, 7, -0.8), (0, 10, 0.6), (8, -3, 0.9), (9, 9, -0.6))  # cells down, cells right, weight
ELEMENTS = 9
CELLS, BATCH, HELD_OUT = 64, 8, 24
SEEN = CELLS - 2 * REACH  # rows and columns of the output whose 23x23 surroundings lie inside the input
EVERY = 5  # steps between two points of a curve
# two hues of Okabe and Ito that the colour-blind tell apart: plain convolutions blue, DCLS vermillion
PLAIN, DCLS, GREY = "#0072B2", "#D55E00", "#595959"
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "xtick.color": GREY,
    "ytick.color": GREY,
}


def begin(about: str | None, file: str, steps: int) -> argparse.Namespace:
    """An example's arguments, `steps`, `seed` and `picture`, after which torch uses one thread and this seed."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=steps, help="training steps (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of all that is drawn (default: %(default)s)")
    parser.add_argument(
        "--picture", type=Path, default=Path(file).with_suffix(".png"), help="PNG file to write (default: %(default)s)"
    )
    arguments = parser.parse_args()
    if arguments.steps < 1:
        parser.error(f"--steps must be positive, but is {arguments.steps}")
    torch.set_num_threads(1)
    torch.manual_seed(arguments.seed)
    return arguments


def main() -> None:
    arguments = begin(__doc__, __file__, steps=600)
    students = {
        "DCLS": dcls.Dcls2d(1, 1, ELEMENTS, dilated_kernel_size=SIZE),
        "3x3": nn.Conv2d(1, 1, 3),
        "7x7": nn.Conv2d(1, 1, 7),
    }
    curves, paths = train(students, arguments.steps, arguments.seed)
    print("error / variance         before     after")
    for name, student in students.items():
        parameters = sum(parameter.numel() for parameter in student.parameters()) - 1  # the bias apart
        text = f"{name}, {student.weight.numel()} weights"
        text += f" ({parameters} parameters)" if name == "DCLS" else ""
        print(f"{text:31s} {curves[name][0]:.4f} -> {curves[name][-1]:.5f}")
    layer = students["DCLS"]
    for down, right, weight in TAPS:
        tap = torch.tensor((float(down), float(right)))
        distance = (positions(layer) - tap).norm(dim=1).min().item()
        print(f"tap at ({down:+d}, {right:+d}), weight {weight:+.1f}: nearest element {distance:.2f} cells away")
    draw(arguments.picture, layer, paths, curves)
    print(arguments.picture)


def train(students: dict[str, nn.Module], steps: int, seed: int) -> tuple[dict[str, list[float]], Tensor]:
    """Train all students on the same inputs; return their errors and the DCLS positions (points, elements, 2).

    A point is taken before the first step, every few steps, and after the last.
    """
    generator = torch.Generator().manual_seed(seed)
    unseen = fields(HELD_OUT, generator)
    answers = teacher(unseen)
    optimizers = {name: torch.optim.Adam(dcls.parameter_groups(s, 0.1, 0.0)) for name, s in students.items()}
    schedules = [torch.optim.lr_scheduler.CosineAnnealingLR(o, steps) for o in optimizers.values()]
    curves: dict[str, list[float]] = {name: [] for name in students}
    paths: list[Tensor] = []

    def take_point() -> None:
        paths.append(positions(students["DCLS"]))
        with torch.no_grad():
            for name, student in students.items():
                curves[name].append(((inner(student(unseen)) - answers).square().mean() / answers.var()).item())

    for step in range(steps):
        if step % EVERY == 0:
            take_point()
        input = fields(BATCH, generator)
        target = teacher(input)
        for name, student in students.items():
            optimizers[name].zero_grad()
            (inner(student(input)) - target).square().mean().backward()
            optimizers[name].step()
            dcls.clamp_positions(student)
        for schedule in schedules:
            schedule.step()
    take_point()
    return curves, torch.stack(paths)


def fields(count: int, generator: torch.Generator) -> Tensor:
    """Random fields (count, 1, cells, cells) of variance 1, with amplitudes as 1 / frequency, as in photographs."""
    frequency = torch.hypot(torch.fft.fftfreq(CELLS)[:, None], torch.fft.rfftfreq(CELLS)[None])
    frequency[0, 0] = 1 / CELLS
    noise = torch.fft.rfft2(torch.randn(count, 1, CELLS, CELLS, generator=generator))
    field = torch.fft.irfft2(noise / frequency, s=(CELLS, CELLS))
    return field / field.std((2, 3), keepdim=True)


def teacher(input: Tensor) -> Tensor:
    """What a convolution with the five taps gives where all of them lie inside the input."""
    parts = [weight * input[..., REACH + down :, REACH + right :][..., :SEEN, :SEEN] for down, right, weight in TAPS]
    return torch.stack(parts).sum(0)


def inner(output: Tensor) -> Tensor:
    """The central cells of a student's output, those that the teacher answers."""
    edge = (output.shape[-1] - SEEN) // 2
    return output[..., edge : edge + SEEN, edge : edge + SEEN]


def positions(layer: nn.Module) -> Tensor:
    """Cells down and right of the centre, (elements, 2); index d of P moves along kernel axis axis_of(...)[d]."""
    P = layer.P.detach().flatten(1)
    axes = dcls.axis_of(layer.version, 2)
    return torch.stack([P[axes.index(axis)] for axis in (0, 1)], 1).clone()


def heights(layer: nn.Module) -> Tensor:
    """Largest absolute value that each element has in the kernel, (elements,): little where an element is wide."""
    weight, P, SIG = layer.weight.detach(), layer.P.detach(), layer.SIG.detach()
    shape = (ELEMENTS, 1)  # as if each were the only element of a channel
    sources = weight.reshape(shape), P.reshape(2, *shape), SIG.reshape(2, *shape)
    return dcls.dense_kernel(*sources, (SIZE, SIZE), layer.version).abs().amax((1, 2))


def draw(path: Path, layer: nn.Module, paths: Tensor, curves: dict[str, list[float]]) -> None:
    """Picture of where the elements went, and of the errors."""
    with rc_context(STYLE):
        figure = Figure(figsize=(9.0, 4.9), layout="constrained")
        figure.get_layout_engine().set(h_pad=0.1)
        left, right = figure.subplots(1, 2)
        draw_paths(left, layer, paths)
        draw_errors(right, curves)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=130, metadata={"Software": None})


def draw_paths(axes: Axes, layer: nn.Module, paths: Tensor) -> None:
    axes.set_title("Nine elements start at the centre", loc="left")
    for side in (3, 7):
        corner = (-side / 2, -side / 2)
        axes.add_patch(Rectangle(corner, side, side, fill=False, edgecolor=PLAIN, linewidth=1.5, linestyle=(0, (3, 2))))
        axes.annotate(
            f"{side}x{side}", (side / 2, side / 2), xytext=(2, -9), textcoords="offset points", color=PLAIN, fontsize=9
        )
    down, right, _ = zip(*TAPS, strict=True)
    axes.scatter(
        right, down, s=200, marker="s", color="none", edgecolor="black", linewidth=1.5, label="tap of the teacher"
    )
    axes.plot(paths[..., 1], paths[..., 0], color=DCLS, linewidth=0.9, alpha=0.75)
    axes.scatter(
        paths[0, :, 1], paths[0, :, 0], s=9, color="white", edgecolor=DCLS, linewidth=0.9, zorder=3, label="start"
    )
    size = 4 + 70 * heights(layer).clamp(max=1)
    axes.scatter(
        paths[-1, :, 1],
        paths[-1, :, 0],
        s=size,
        color=DCLS,
        alpha=0.9,
        linewidth=0,
        zorder=4,
        label="end, area by height",
    )
    axes.legend(
        loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3, frameon=False, handletextpad=0.2, columnspacing=1.0
    )
    axes.set(xlim=(-12, 12), ylim=(12, -12), aspect="equal", xlabel="cells right of the centre", ylabel="cells down")


def draw_errors(axes: Axes, curves: dict[str, list[float]]) -> None:
    axes.set_title("Error on inputs not trained on", loc="left")
    labels = {"DCLS": "DCLS, 9 elements", "3x3": "plain 3x3, 9 weights", "7x7": "plain 7x7, 49 weights"}
    for name, errors in curves.items():
        steps = [EVERY * i for i in range(len(errors))]
        colour = DCLS if name == "DCLS" else PLAIN
        axes.plot(steps, errors, color=colour, linewidth=2, linestyle="--" if name == "3x3" else "-")
        below = name != "3x3"
        axes.annotate(
            f"{labels[name]}: {errors[-1]:.2g}",
            (steps[-1], errors[-1]),
            xytext=(0, -8 if below else 8),
            textcoords="offset points",
            horizontalalignment="right",
            verticalalignment="top" if below else "bottom",
            color=colour,
        )
    axes.set(yscale="log", xlabel="training step", ylabel="mean square / variance of the target")
    least = min(min(errors) for errors in curves.values())
    axes.set_ylim(least / 5, 8)
    axes.grid(axis="y", color="#D9D9D9", linewidth=0.6)
    axes.set_axisbelow(True)


if __name__ == "__main__":
    main()
