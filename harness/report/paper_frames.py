"""What the paper published, and the reference points that stand beside it, as DataFrames."""

from __future__ import annotations

import pandas as pd

from harness.base import paths
from harness.base.errors import UserError
from harness.config.systems import BACKBONES, PAPER
from harness.report.reading import Files

REMEDY = "restore the file from Git"
NUMBERS = ("kernel_count", "params_millions", "map_mean", "map_std", "throughput_samples_per_s")
TEXT = ("model", "backbone", "method", "kernel_size", "imagenet_pretraining")
NAMES = {"map_mean": "mAP", "map_std": "sd", "throughput_samples_per_s": "throughput", "method": "paper_method"}


def published(files: Files) -> pd.DataFrame:
    """The paper's Table 1: mAP in percent, parameters in millions, clips/s; `paper_method` is its own word.

    Beside a DCLS model, `mAP_difference` and `speed_ratio` are what it has more than its baseline, and how fast it is
    relative to it; of a baseline they are NaN.

    Raises UserError where the file is missing, or lacks one of the six.
    """
    found = files.csv(paths.PUBLISHED, (*TEXT, *NUMBERS), TEXT, REMEDY).rename(columns=NAMES)
    missing = next((name for name in PAPER if name not in set(found.model)), None)
    if missing:
        raise UserError(f"{paths.PUBLISHED}: no row for {missing}; {REMEDY}")
    found = found[found.model.isin(PAPER)].reset_index(drop=True)
    families, baselines = (found.model.map({name: one[place] for name, one in PAPER.items()}) for place in (0, 1))
    baseline = found.set_index("model").reindex(baselines).reset_index(drop=True)
    found = found.assign(
        imagenet=found.imagenet_pretraining == "yes",
        backbone=families.map(BACKBONES),
        mAP_difference=(found.mAP - baseline.mAP).round(2),  # decimals as published
        speed_ratio=found.throughput / baseline.throughput,
        parameters=(1e6 * found.params_millions).round().astype(int),
        source=str(paths.PUBLISHED),
    )
    return found.drop(columns="imagenet_pretraining")


def references(files: Files, presets: set[str]) -> pd.DataFrame:
    """Reference points of presets, by their names or kinds of data: mAP and sd in [0, 1], over n runs."""
    path = paths.PUBLISHED.with_name("reference_points.csv")
    found = files.csv(path, ("preset", "name", "mAP", "sd", "n", "source"), ("preset", "name", "source"), REMEDY)
    return found[found.preset.isin(presets)].drop(columns="preset").reset_index(drop=True)
