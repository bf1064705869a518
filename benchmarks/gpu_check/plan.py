"""The parts in their order, the most telling first, and how long each may take. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass

TOTAL = 480.0  # seconds, the summary included
ON_CPU = 10  # times as long for everything, where cores are few and nobody waits for them
LEAST = 10.0  # seconds: with less left, a part is not begun
LEFT_OUT = 3  # exit status of a part that lacks what it needs
FILES = (
    *("summary.md", "found.json", "log.txt", "profile.txt"),
    *("timings.csv", "timings-rule.csv", "choices.json", "compared.csv"),
)


@dataclass(frozen=True)
class Part:
    """What it answers stands in `words`; `module` is the one in this folder that does it."""

    name: str
    seconds: float
    module: str
    words: str


PARTS = (
    Part("device", 25, "device", "what the device is, what is installed, and how fast it copies and multiplies"),
    Part("tests", 85, "tests", "the tests of dcls that need a GPU"),
    Part("ratios", 105, "ratios", "DCLS over baseline: largest batch, float32 and bf16, measured and by rule"),
    Part("compiled", 100, "ratios", "the same, compiled, bf16: the paper's pair"),
    Part("published", 45, "peers", "DCLS against the published package's layers and other kernels of that size"),
    Part("training", 40, "training", "same bits twice, float32 against the CPU, 16 bits finite"),
    Part("processes", 45, "processes", "two processes on one device against one"),
    Part("loading", 30, "loading", "what a full-size training step waits for"),
    Part("profile", 25, "profile", "where the time goes of what misses its goal, and the bound"),
    Part("others", 240, "ratios", "DCLS over baseline: all other batches and precisions"),
    Part("compiled-training", 150, "ratios", "DCLS over baseline in training, compiled, bf16: the paper's pair"),
    Part("more-tests", 120, "tests", "the tests of the harness that need a GPU"),
)
