"""Writes examples/clips/: twenty-one synthesised clips and their table, as preset `folder` takes them. CC0.

python examples/make_clips.py
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import soundfile

FOLDER = Path(__file__).parent / "clips"
RATE, SECONDS = 16_000, 1.0
SPLITS = ("train", "train", "train", "train", "val", "test", "test")  # of the seven clips of a class
CLASSES = ("Beep, bleep", "Chirp tone", "White noise")  # AudioSet's names; any others would do


def waveform(label: str, random: np.random.Generator) -> np.ndarray:
    """float64 (samples,) within -1..1: of random pitch, loudness and length."""
    time = np.arange(round(RATE * SECONDS)) / RATE
    low, high = random.uniform(300, 900), random.uniform(1500, 5000)
    sound = {
        "Beep, bleep": np.sin(2 * np.pi * low * time) * (time * random.uniform(3, 6) % 1 < 0.5),
        "Chirp tone": np.sin(2 * np.pi * (low * time + (high - low) * time**2 / (2 * SECONDS))),
        "White noise": random.uniform(-1, 1, len(time)),
    }[label]
    return random.uniform(0.2, 0.7) * sound * (time < random.uniform(0.6, 1.0) * SECONDS)


def main(folder: Path = FOLDER) -> None:
    folder.mkdir(exist_ok=True)
    rows = []
    for number, label in enumerate(CLASSES):
        for take, split in enumerate(SPLITS):
            name = f"{label.split()[0].strip(',').lower()}-{take}.ogg"
            random = np.random.default_rng([number, take])
            soundfile.write(folder / name, waveform(label, random), RATE, format="OGG", subtype="VORBIS")
            rows.append((name, label, split))
    with open(folder / "clips.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([("path", "labels", "split"), *rows])


if __name__ == "__main__":
    main()
