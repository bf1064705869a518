"""Where each stage's files lie, relative to the repository root. dvc.yaml names the same places."""

from __future__ import annotations

from pathlib import Path

PARAMS = Path("params.yaml")
HARDWARE = Path("runs/hardware.json")  # on which machine this checkout is: outside Git
THROUGHPUT = Path("results/throughput")  # one CSV a device, whatever the preset
TIMED_DEVICE = THROUGHPUT / "device.json"  # that the tables show: the one that was timed last
PUBLISHED = Path("paper_tables/published.csv")
LINKED_WEIGHTS = Path("data/linked/weights")  # a folder a system
DOWNLOADS = Path(".cache/downloads")  # outside DVC's outputs: an interrupted download goes on here
RESUME = Path(".cache/resume")  # outside DVC's outputs: DVC would restore a stale checkpoint
NONFINITE = Path(".cache/nonfinite")  # steps whose loss was not finite, to be replayed


def raw(kind: str) -> Path:
    """Recordings as fetched."""
    return Path("data/raw") / kind


def linked(kind: str) -> Path:
    """Links to the user's own files, for DVC to look at."""
    return Path("data/linked") / kind


def fetched_segments(split: str, number: int) -> str:
    """Name, in `raw("audioset")`, of the copy of a split's `number`-th segment CSV."""
    return f"segments-{split}-{number}.csv"


def fetched_list(split: str, number: int) -> str:
    """Name, in `raw("folder")`, of the copy of a split's `number`-th list; its labels' copy ends in .labels."""
    return f"list-{split}-{number}.txt"


def packed(preset: str) -> Path:
    """Manifest, label list and packed recordings."""
    return Path("data/packed") / preset


def in_place(preset: str) -> Path:
    """The state of the files that clips are read from where they lie: beside DVC's output, as it has times in it."""
    return Path("data/packed") / f"{preset}.in_place.json"


def run(preset: str, model: str, seed: int) -> Path:
    """Weights, full positions: large, in DVC's cache."""
    return Path("runs") / preset / f"{model}-{seed}"


def log(preset: str, name: str) -> Path:
    """When, where and how fast a result was computed: outside Git, and outside DVC's outputs."""
    return Path("runs") / preset / f"{name}.log.json"


def status(preset: str, model: str, seed: int) -> Path:
    """How far a training is, or how it ended: outside Git."""
    return Path("runs") / preset / f"{model}-{seed}.status.json"


def tensorboard(preset: str, model: str, seed: int) -> Path:
    """Event files, beside the weights: outside DVC's outputs, as they are never the same twice."""
    return Path("runs") / preset / f"{model}-{seed}.tensorboard"


def predictions(preset: str, model: str, seed: int) -> Path:
    return Path("predictions") / preset / f"{model}-{seed}.npz"


def results(preset: str) -> Path:
    """Small files, committed to Git."""
    return Path("results") / preset


def plotted_history(preset: str) -> Path:
    """What `dvc plots show` draws: written by `tables`, and while runs go on by each of them."""
    return results(preset) / "plots" / "history.csv"


def tables(preset: str) -> Path:
    """Beside the published one."""
    return PUBLISHED.parent / preset


def run_results(preset: str, model: str, seed: int) -> Path:
    """What Git keeps of a run: the folder `training`, written by the train stage, and `evaluation`."""
    return results(preset) / "runs" / f"{model}-{seed}"


def training_results(preset: str, model: str, seed: int) -> Path:
    return run_results(preset, model, seed) / "training"


def evaluation_results(preset: str, model: str, seed: int) -> Path:
    return run_results(preset, model, seed) / "evaluation"
