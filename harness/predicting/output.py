"""What was heard in a recording: as text, CSV, JSON, embeddings and a picture."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.base.files import write_atomic

Show = Callable[["Tagged"], None]


@dataclass(frozen=True, eq=False)
class Tagged:
    """A recording's windows: their starts and length in seconds, scores (windows, classes), embeddings (windows,
    features), both float32; or what is wrong with it."""

    file: Path
    starts: np.ndarray
    seconds: float
    scores: np.ndarray
    embeddings: np.ndarray
    problem: str = ""

    @property
    def highest(self) -> np.ndarray:
        """(classes,): of each class, its highest score in any window, as labels say what is somewhere in a clip."""
        return self.scores.max(axis=0)

    def top(self, count: int) -> list[int]:
        """The classes with the highest scores, highest first."""
        return np.argsort(-self.highest, kind="stable")[:count].tolist()


def text(labels: Sequence[str], top: int) -> Show:
    """A recording's name, then a line a class: its score, and in a long recording where that is."""

    def show(one: Tagged) -> None:
        print(one.file)
        for column in one.top(top):
            best = int(one.scores[:, column].argmax())
            where = f"  at {one.starts[best]:.2f} s" if len(one.starts) > 1 else ""
            print(f"  {one.scores[best, column]:.3f}  {labels[column]}{where}")

    return show


def as_csv(labels: Sequence[str], top: int) -> Show:
    """A line for each window of a recording and each of its classes."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["file", "start_seconds", "end_seconds", "label", "score"])

    def show(one: Tagged) -> None:
        classes = one.top(top)
        for start, scores in zip(one.starts.tolist(), one.scores, strict=True):
            span = f"{start:.3f}", f"{start + one.seconds:.3f}"
            writer.writerows([one.file, *span, labels[column], f"{scores[column]:.6f}"] for column in classes)

    return show


def as_json(labels: Sequence[str], top: int) -> Show:
    """A JSON object a line: file, window_seconds, start_seconds, and by label highest and scores, one a window."""

    def show(one: Tagged) -> None:
        classes = one.top(top)
        scores = one.scores.astype(float).round(6)
        content = {
            "file": str(one.file),
            "window_seconds": one.seconds,
            "start_seconds": one.starts.round(3).tolist(),
            "highest": {labels[column]: scores[:, column].max() for column in classes},
            "scores": {labels[column]: scores[:, column].tolist() for column in classes},
        }
        print(json.dumps(content, ensure_ascii=False))

    return show


PRINT: dict[str, Callable[[Sequence[str], int], Show]] = {"text": text, "csv": as_csv, "json": as_json}


def write_embeddings(path: Path, found: Sequence[Tagged]) -> None:
    """An .npz with a row a window: `files`, `start_seconds`, and `embeddings`, float32 (windows, features)."""
    files = np.array([str(one.file) for one in found for _ in one.starts])
    starts, embeddings = (np.concatenate([getattr(one, name) for one in found]) for name in ("starts", "embeddings"))
    write_atomic(path, lambda file: np.savez_compressed(file, files=files, start_seconds=starts, embeddings=embeddings))


def picture_names(files: Sequence[Path]) -> dict[Path, str]:
    """A name for the picture of each recording: its own, and a number where another one has that."""
    names: dict[Path, str] = {}
    for file in files:
        taken = sum(one.name == file.name for one in names)
        names[file] = f"{file.name}-{taken + 1}" if taken else file.name
    return names


def write_picture(path: Path, one: Tagged, labels: Sequence[str], top: int) -> None:
    """The scores over time as `path`.png: a row a class, highest first, a column a window."""
    from matplotlib.figure import Figure  # these two take seconds, and only this needs them

    from harness.report.figures import theme

    classes = one.top(top)
    last = one.starts[-1] - one.starts[-2] if len(one.starts) > 1 else one.seconds

    def draw() -> Figure:
        figure = Figure(figsize=(theme.TWO_COLUMNS, 0.9 + 0.2 * len(classes)), layout="constrained")
        axes = figure.subplots()
        edges = [*one.starts.tolist(), one.starts[-1] + last]
        rows = np.arange(len(classes) + 1) - 0.5
        mesh = axes.pcolormesh(edges, rows, one.scores[:, classes].T, vmin=0, vmax=1, cmap="magma_r")
        axes.set_yticks(range(len(classes)), [labels[column] for column in classes])
        axes.invert_yaxis()
        axes.grid(False)
        axes.set(title=one.file.name, xlabel=f"start of the window of {one.seconds:g} s, in seconds")
        figure.colorbar(mesh, label="score")
        return figure

    theme.save(path, draw)
