"""The options of the commands that have many."""

from __future__ import annotations

import argparse
from pathlib import Path


def throughput_options(stage: argparse.ArgumentParser) -> None:
    stage.description = (
        "Time the systems' models at full size, each in turn with its baseline: inference and training, float32, "
        "every batch of the `throughput` section; then say where a step's time goes. Rows in "
        "results/throughput/DEVICE.csv are written after each pair and condition and replace those of the same "
        "condition; all others stay. docs/throughput.md says what the columns are."
    )
    choice = stage.add_mutually_exclusive_group()
    text = "print the ratio table of one clip's inference in under a minute, and write nothing"
    choice.add_argument("--quick", action="store_true", help=text)
    text = (
        "every condition the device has, which takes hours: precisions, compiled, memory layouts, fused. Conditions "
        "that this commit, without changed files, measured here with the same software are left out, so an interrupted "
        "run goes on; without --all nothing is left out"
    )
    choice.add_argument("--all", action="store_true", help=text)


def predict_options(stage: argparse.ArgumentParser) -> None:
    text = "sound files, and folders of them at any depth; long files are scored in windows of the model's clip length"
    stage.add_argument("recordings", nargs="+", type=Path, metavar="FILE_OR_FOLDER", help=text)
    choice = stage.add_mutually_exclusive_group()
    text = "a trained run, MODEL-SEED (default: the run with the highest validation mAP)"
    choice.add_argument("--run", metavar="NAME", help=text)
    text = "weights that `train`, `import-checkpoint` or `export` wrote"
    choice.add_argument("--weights", type=Path, metavar="FILE", help=text)
    text = "print only the N classes with the highest scores (default: %(default)s)"
    stage.add_argument("--top", type=int, default=10, metavar="N", help=text)
    text = "text: each class's highest score in any window; csv, json: the scores of each window (default: %(default)s)"
    stage.add_argument("--format", choices=("text", "csv", "json"), default="text", help=text)
    text = "time from the start of one window to the start of the next (default: a window's length)"
    stage.add_argument("--hop", type=float, metavar="SECONDS", help=text)
    text = "also write what enters the classifier, a vector per window: an .npz of files, start_seconds and embeddings"
    stage.add_argument("--embeddings", type=Path, metavar="FILE", help=text)
    text = "also draw each recording's scores over time, one PNG per recording"
    stage.add_argument("--pictures", type=Path, metavar="FOLDER", help=text)


def submit_options(stage: argparse.ArgumentParser) -> None:
    stage.add_argument("--nodes", type=int, default=1, metavar="N", help="machines a run (default: %(default)s)")
    stage.add_argument("--gpus", type=int, default=1, metavar="G", help="GPUs a machine (default: %(default)s)")
    stage.add_argument("--cpus", type=int, default=8, metavar="C", help="cores a machine (default: %(default)s)")
    stage.add_argument("--memory", type=int, metavar="GB", help="memory a machine (default: the partition's)")
    text = "time limit of a job, after which it is requeued and goes on (default: %(default)s)"
    stage.add_argument("--hours", type=float, default=24.0, metavar="H", help=text)
    stage.add_argument("--at-once", type=int, default=256, metavar="K", help="runs at a time (default: %(default)s)")
    stage.add_argument("--partition", metavar="NAME", help="Slurm's partition (default: the cluster's)")
    stage.add_argument("--account", metavar="NAME", help="account to charge (default: the cluster's)")
    text = "shared folder for logs and submitit's files (default: %(default)s)"
    stage.add_argument("--folder", type=Path, default=Path(".cache/slurm"), metavar="LOGS", help=text)
    stage.add_argument("--dry-run", action="store_true", help="print the sbatch file and submit nothing")
