"""params.yaml as frozen dataclasses. The only module, with strict_yaml, that reads YAML or the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.base.errors import UserError
from harness.config import consistency
from harness.config.strict import build, setting
from harness.config.strict_yaml import read_yaml
from harness.config.systems import MODELS

MOST_CLIPS = 1_000_000_000  # and batches and steps of them
MOST_SEED = 2**32 - 1  # what every library takes
SHORTEST = 1.27  # seconds: 128 frames, which the stem and three halvings bring down to one column


@dataclass(frozen=True)
class Audioset:
    audio: tuple[str, ...] | None = setting("folders with the recordings, at any depth", default=None)
    train_segments: tuple[str, ...] | None = setting("AudioSet's segment CSVs to train on", default=None)
    val_segments: str | None = setting("segment CSV to validate on; null for val_fraction", default=None)
    test_segments: str | None = setting("segment CSV to test on", default=None)
    train_hdf5: tuple[str, ...] | None = setting("HDF5 files, as PANNs packs them, to train on", default=None)
    val_hdf5: str | None = setting("HDF5 file to validate on; null for val_fraction", default=None)
    test_hdf5: str | None = setting("HDF5 file to test on", default=None)
    val_fraction: float = setting(
        "share of the training clips that validates instead of training, by the hash of the id",
        minimum=0.0,
        maximum=0.5,
        default=0.005,
    )


@dataclass(frozen=True)
class Data:
    kind: str = setting("where the recordings come from", choices=("instruments", "esc10", "folder", "audioset"))
    clip_seconds: float = setting(
        "length of a clip; shorter ones are zero-padded, longer ones cut", minimum=SHORTEST, maximum=60.0
    )
    mirror: str | None = setting("folder searched for every download before the network", default=None)
    csv: str | None = setting("folder: CSV with the columns path, labels, split", default=None)
    label_list: str = setting(
        "folder, audioset: the classes, `audioset` (all 527), a CSV file with the columns index,mid,display_name or "
        "display_name alone, or for folder `used` (those that data.csv uses)",
        default="used",
    )
    audioset: Audioset | None = setting("audioset: where its files are", default=None)
    max_bad_fraction: float = setting(
        "largest share of a split's clips that may be bad, which docs/data.md explains; above it featurize stops",
        minimum=0.0,
        maximum=1.0,
        default=0.01,
    )
    train_mixtures: int = setting(
        "instruments: mixtures an epoch, drawn afresh each epoch", minimum=1, maximum=MOST_CLIPS, default=1
    )
    val_mixtures: int = setting("instruments: validation mixtures", minimum=1, maximum=MOST_CLIPS, default=1)
    test_mixtures: int = setting("instruments: test mixtures", minimum=1, maximum=MOST_CLIPS, default=1)
    mixture_seed: int = setting("instruments: seed of the mixtures", minimum=0, maximum=MOST_SEED, default=0)


@dataclass(frozen=True)
class Model:
    scale: str = setting("the paper's full size, or the depths and widths given here", choices=("full", "reduced"))
    optimizer: str = setting("the paper: lamb for ConvFormer, adamw for the others", choices=("adamw", "lamb"))
    epochs: int = setting(
        "passes over the training clips; 0 with start published, which are taken as they are",
        minimum=0,
        maximum=10_000,
    )
    learning_rate: float = setting("peak learning rate; P and SIG take five times it", minimum=0.0, maximum=10.0)
    drop_path: float = setting("rate of the last block, rising linearly from 0", minimum=0.0, maximum=0.9)
    layer_scale: float | None = setting(
        "start of the layer scale, null for the backbone's own", minimum=0.0, maximum=10.0, default=None
    )
    depths: tuple[int, ...] | None = setting(
        "reduced: blocks in each of the four stages", minimum=1, maximum=100, default=None
    )
    widths: tuple[int, ...] | None = setting(
        "reduced: channels of each of the four stages", minimum=8, maximum=8192, default=None
    )
    start: str = setting(
        "weights to start from; the paper: imagenet for ConvNeXt and ConvFormer, random for FastViT; published are the "
        "authors' trained ones",
        choices=("random", "imagenet", "published"),
        default="random",
    )
    weights: str | None = setting(
        "file to read the weights of `start` from, instead of the network (.pth or .safetensors)", default=None
    )


@dataclass(frozen=True)
class Dcls:
    kernel_count: int = setting("elements in a kernel", minimum=1, maximum=1000)
    dilated_kernel_size: int = setting("side of the dense kernel, odd", minimum=1, maximum=255)
    version: str = setting("interpolation", choices=("gauss", "max", "v1", "v0"))


@dataclass(frozen=True)
class Train:
    warmup_fraction: float = setting("share of the epochs with linear warm-up from 0", minimum=0.0, maximum=1.0)
    batch: int = setting("clips in an optimizer step", minimum=1, maximum=MOST_CLIPS)
    final_learning_rate: float = setting("where the cosine ends", minimum=0.0, maximum=10.0)
    weight_decay: float = setting("none on 1-d tensors, biases, P and SIG", minimum=0.0, maximum=10.0)
    mixup_alpha: float = setting(
        "lambda from Beta(alpha, alpha), one a batch; 0 turns mixup off", minimum=0.0, maximum=100.0
    )
    label_smoothing: float = setting("t -> (1 - s) t + s / classes, before mixing", minimum=0.0, maximum=1.0)
    roll: bool = setting("circular roll of the waveform by a uniform shift")
    speed_probability: float = setting("chance of a speed change", minimum=0.0, maximum=1.0)
    speed_low: float = setting("lowest rate", minimum=0.1, maximum=10.0)
    speed_high: float = setting("highest rate", minimum=0.1, maximum=10.0)
    erase_probability: float = setting(
        "chance of erasing a rectangle of the power spectrogram", minimum=0.0, maximum=1.0
    )
    micro_batch: int | None = setting(
        "clips in a forward pass and in one mixup, gradients add up to `batch`; null for the whole batch",
        minimum=1,
        maximum=MOST_CLIPS,
        default=None,
    )
    precision: str = setting(
        "of the model in training: float32, tf32 (CUDA), bf16 or fp16 (CUDA) by autocast; scoring is always float32",
        choices=("float32", "tf32", "bf16", "fp16"),
        default="float32",
    )
    channels_last: bool = setting("memory layout of the convolutions; rounding apart, no effect", default=True)
    compile: bool = setting("torch.compile the model; rounding apart, no effect", default=False)
    activation_checkpointing: bool = setting(
        "compute activations again in the backward pass instead of keeping them; no effect", default=False
    )
    deterministic: bool = setting(
        "CUDA: only algorithms that give the same bits each time; a CPU needs nothing for that", default=False
    )
    convolution: str = setting(
        "how DCLS layers compute: by `rule`, the same bits each time, or the fastest way `measured`; rounding apart, "
        "no effect; scoring is always by rule",
        choices=("rule", "measured"),
        default="rule",
    )
    ema_decay: float | None = setting(
        "validate, keep and evaluate an exponential moving average of the weights, of this decay a step; null for none",
        minimum=0.0,
        maximum=0.999999,
        default=None,
    )


@dataclass(frozen=True)
class Execution:
    workers: int = setting(
        "processes that read the training clips, beside each training process", minimum=0, maximum=1000, default=0
    )
    checkpoint_steps: int | None = setting(
        "steps between checkpoints within an epoch; null for one after each epoch",
        minimum=1,
        maximum=MOST_CLIPS,
        default=None,
    )
    checkpoints_kept: int = setting("newest checkpoints kept of an unfinished run", minimum=1, maximum=1000, default=2)
    threads: int = setting(
        "CPU threads of a training, an evaluation or a linear baseline; rounding apart, no effect",
        minimum=1,
        maximum=1000,
        default=1,
    )


@dataclass(frozen=True)
class Evaluate:
    batch: int = setting("clips in a forward pass", minimum=1, maximum=MOST_CLIPS)
    bootstrap: int = setting("resamples of the clips for the 95% interval", minimum=1, maximum=1_000_000)


@dataclass(frozen=True)
class Throughput:
    inference_batches: tuple[int, ...] = setting(
        "clips in a timed forward pass, one size after the other; where memory ends, half of it",
        minimum=1,
        maximum=MOST_CLIPS,
    )
    training_batches: tuple[int, ...] = setting("clips in a timed training step", minimum=1, maximum=MOST_CLIPS)
    seconds: float = setting(
        "how long the timed rounds of a pair go on in one condition; at least 5 rounds, at most 100",
        minimum=0.0,
        maximum=3600.0,
    )


@dataclass(frozen=True)
class Params:
    preset: str = setting("name under which results are filed: letters, digits, - and _, at most 64")
    models: tuple[str, ...] = setting("which of the six systems to run", choices=MODELS)
    seeds: tuple[int, ...] = setting("a training run for each", minimum=0, maximum=MOST_SEED)
    linear_baseline_seeds: tuple[int, ...] = setting(
        "a logistic regression for each", minimum=0, maximum=MOST_SEED, may_be_empty=True
    )
    data: Data = setting("where sounds come from")
    dcls: Dcls = setting("the convolution of the DCLS models")
    train: Train = setting("the recipe that all models share")
    evaluate: Evaluate = setting("scoring")
    throughput: Throughput = setting("timing of the full-size models")
    per_model: dict[str, Model] = setting("settings of one model; changing them reruns that model alone")
    execution: Execution = setting(
        "how a training runs; it changes no number, rounding apart, and reruns nothing", default=Execution()
    )


def load(path: Path) -> Params:
    """Read and check a parameter file.

    Raises UserError naming the file, the key, the value and what is allowed.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"{path}: missing; run in the repository root, or `make preset NAME=instruments`") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    value = parse_yaml(str(path), content)
    try:
        params = build(Params, value)
        consistency.check(params)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    return params


def parse_yaml(name: str, content: bytes) -> Any:
    """The value of a YAML file's content. Raises UserError, with the name of the file, where it is no YAML."""
    try:
        return read_yaml(content)
    except UserError as error:
        raise UserError(f"{name}: {error}") from error


def mirror(params: Params) -> Path | None:
    """The mirror folder: data.mirror, or else the environment's DCLS_HARNESS_MIRROR."""
    given = params.data.mirror or os.environ.get("DCLS_HARNESS_MIRROR")
    return Path(given) if given else None
