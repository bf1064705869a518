"""params.yaml as frozen models: type, range and meaning of every key, and which values go together."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, ValidationError

from harness.base.errors import UserError
from harness.config.messages import first_error, nearest
from harness.config.section import (
    AS_TUPLE,
    DISTINCT,
    Count,
    Rate,
    Section,
    Seed,
    Several,
    Share,
    Text,
    key,
    must,
)
from harness.config.strict_yaml import parse_yaml
from harness.config.systems import System, SystemName, system_misfits

FOLDED = ("esc10", "esc50")  # kinds whose clips lie in five folds, of which a run's seed picks those of each split
SHORTEST = 1.27  # seconds: 128 frames, which the stem and three halvings bring down to one column
ClassList = Annotated[
    Text, must("be used, audioset, or the path of a .csv file", re.compile("used|audioset|(?i:.*[.]csv)").fullmatch)
]
FolderName = Annotated[
    str,
    must("be letters, digits, - and _, at most 64, no - first", re.compile(r"(?a)\w[\w-]{0,63}").fullmatch),
    must("be another name: results/throughput is for every preset", lambda name: name.lower() != "throughput"),
]


Names = Annotated[
    tuple[Text, ...],
    Field(min_length=1),
    BeforeValidator(
        lambda value: (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value
    ),
]


class Audioset(Section):
    audio: Names | None = key("folders with the recordings, at any depth; `~` and patterns, as in all of these", None)
    train_segments: Names | None = key("AudioSet's segment CSVs to train on", None)
    val_segments: Names | None = key("segment CSVs to validate on; null for val_fraction", None)
    test_segments: Names | None = key("segment CSVs to test on", None)
    train: Names | None = key("files that hold sounds and labels, or folders of such files, to train on", None)
    val: Names | None = key("such files to validate on; null for val_fraction", None)
    test: Names | None = key("such files to test on", None)
    val_fraction: float = key("share of the training clips to validate on, by the hash of the id", 0.005, 0.0, 0.5)
    in_place: bool = key("decode mp3, flac and the like while training, in place of packing them; no effect", False)

    def files(self, kind: Literal["segments", "sounds"]) -> dict[str, tuple[str, ...]]:
        """The segment CSVs, or the files that hold sounds and labels, of each split, as the parameters name them."""
        suffix = "_segments" if kind == "segments" else ""
        return {split: getattr(self, f"{split}{suffix}") or () for split in ("train", "val", "test")}

    @property
    def held_out_fraction(self) -> float:
        """The share of the training clips that validates: none where other clips are named for that."""
        return 0.0 if self.val_segments or self.val else self.val_fraction

    def split_with_files(self, split: str) -> str:
        """The split whose files hold the clips of `split`: those held out for validation are in the training files."""
        return "train" if split == "val" and self.held_out_fraction else split


class Lists(Section):
    train: Names | None = key(
        "lists to train on: AST's JSON, EAT's .tsv and .lbl, CED's .tsv, Kaldi's wav.scp and text", None
    )
    val: Names | None = key("lists to validate on; null for val_fraction", None)
    test: Names = key("lists to test on")
    val_fraction: float = key("share of the training clips to validate on, by the hash of the path", 0.005, 0.0, 0.5)

    def files(self) -> dict[str, tuple[str, ...]]:
        """The lists of each split, as the parameters name them."""
        return {split: getattr(self, split) or () for split in ("train", "val", "test")}

    @property
    def held_out_fraction(self) -> float:
        """The share of the training clips that validates: none where other clips are named for that."""
        return 0.0 if self.val else self.val_fraction

    def misfits(self) -> Iterator[str]:
        if self.train and not (self.val or self.val_fraction):
            yield "val_fraction: is 0.0, must be above 0 without val"


TableOrLists = Annotated[
    Annotated[Text, Tag("[text]")] | Annotated[Lists, Tag("[lists]")],
    Discriminator(lambda value: "[lists]" if isinstance(value, dict | Lists) else "[text]"),
]


class Data(Section):
    kind: Literal["instruments", "esc10", "esc50", "fsd50k", "folder", "audioset"] = key(
        "where the recordings come from"
    )
    clip_seconds: float = key("length of a clip; shorter ones are zero-padded, longer ones cut", ..., SHORTEST, 60.0)
    mirror: Text | None = key("folder searched for every download before the network", None)
    csv: TableOrLists | None = key(
        "folder: CSV with the columns path, labels, split, or lists by split; esc50, fsd50k: the table in their folder",
        None,
    )
    label_list: ClassList = key("classes: `audioset`, a .csv file, or for folder `used`: those in data.csv", "used")
    audioset: Audioset | None = key("audioset: where its files are", None)
    max_bad_fraction: Share = key("share of a split's clips that may be bad; with more, featurize stops", 0.01)
    train_mixtures: Count = key("instruments: mixtures an epoch, drawn afresh each epoch", 1)
    val_mixtures: Count = key("instruments: validation mixtures", 1)
    test_mixtures: Count = key("instruments: test mixtures", 1)
    mixture_seed: Seed = key("instruments: seed of the mixtures", 0)

    @property
    def is_listed(self) -> bool:
        """Whether the user lists the clips, few or many, so that they are worked on in blocks."""
        return self.kind in ("folder", "fsd50k", "audioset")

    @property
    def is_brought(self) -> bool:
        """Whether the recordings are files of the user's own, and not what `fetch` downloads."""
        return self.kind not in ("instruments", "esc10")

    @property
    def has_folds(self) -> bool:
        return self.kind in FOLDED

    @property
    def base(self) -> Path:
        """Where the paths in `csv` start: its folder; of esc50 and fsd50k the folder above."""
        assert isinstance(self.csv, str)  # checked when the parameters were read
        return Path(self.csv).parent if self.kind == "folder" else Path(self.csv).parents[1]

    @property
    def audioset_files(self) -> Audioset:
        """The section `audioset`, which data of that kind always have."""
        assert self.audioset is not None
        return self.audioset

    def misfits(self) -> Iterator[str]:
        if self.kind == "folder" and not self.csv:
            yield "csv: missing; data.kind folder needs a CSV with the columns path, labels, split"
        if self.kind in ("esc50", "fsd50k") and (isinstance(self.csv, Lists) or len(Path(self.csv or "").parts) < 3):
            table = "meta/esc50.csv" if self.kind == "esc50" else "FSD50K.ground_truth/dev.csv"
            yield f"csv: must be FOLDER/{table} at data.kind {self.kind}"
        if self.kind != "audioset":
            return
        if self.label_list == "used":
            yield "label_list: is 'used', must be audioset or the path of a .csv file at data.kind audioset"
        given = self.audioset or Audioset()
        if bool(given.audio) == bool(given.test):
            yield "audioset: must name either audio, with test_segments, or test at data.kind audioset"
        if given.audio and not given.test_segments:
            yield "audioset.test_segments: missing; audio needs the segment CSV of the clips to test on"
        if given.audio and (given.train or given.val):
            yield "audioset.audio: must be null with train or val"
        for files in (given.files("segments"), given.files("sounds")):
            named = [name for names in files.values() for name in names]
            for name in (name for name in named if named.count(name) > 1):
                yield f"audioset: {name} is named twice; a file must train, validate or test"
        held_out = given.val_segments or given.val or given.val_fraction
        if (given.train_segments or given.train) and not held_out:
            yield "audioset.val_fraction: is 0.0, must be above 0 without val_segments and val"


class Train(Section):
    warmup_fraction: Share = key("share of the epochs with linear warm-up from 0")
    batch: Count = key("clips in an optimizer step")
    final_learning_rate: Rate = key("where the cosine ends")
    weight_decay: Rate = key("none on biases, norms, and positions (P) and spreads (SIG) of DCLS elements")
    mixup_alpha: float = key("lambda from Beta(alpha, alpha), one a batch; 0 turns mixup off", ..., 0.0, 100.0)
    label_smoothing: Share = key("t -> (1 - s) t + s / classes, before mixing")
    roll: bool = key("circular roll of the waveform by a uniform shift")
    speed_probability: Share = key("chance of a speed change")
    speed_low: float = key("lowest rate", ..., 0.1, 10.0)
    speed_high: float = key("highest rate", ..., 0.1, 10.0)
    erase_probability: Share = key("chance of erasing a rectangle of the power spectrogram")
    micro_batch: Count | None = key("clips in a forward pass and a mixup, which add up to `batch`; null for all", None)
    precision: Literal["float32", "tf32", "bf16", "fp16"] = key(
        "of the model in training: tf32 on CUDA, bf16 and fp16 (CUDA) by autocast; scoring is in float32", "float32"
    )
    channels_last: bool = key("memory layout of the convolutions; rounding apart, no effect", True)
    compile: bool = key("torch.compile the model; rounding apart, no effect", False)
    activation_checkpointing: bool = key("compute activations again in the backward pass; no effect", False)
    deterministic: bool = key("CUDA: only algorithms that give the same bits each time, as a CPU always does", False)
    convolution: Literal["rule", "measured"] = key(
        "of DCLS layers: by `rule`, the same bits each time, or the fastest `measured`; scoring is by rule", "rule"
    )
    ema_decay: float | None = key(
        "validate and keep a moving average of the weights, of this decay a step; null for none", None, 0.0, 0.999999
    )

    def misfits(self) -> Iterator[str]:
        if self.speed_low > self.speed_high:
            yield f"speed_low: is {self.speed_low}, must be at most train.speed_high"
        if self.batch % (self.micro_batch or 1):
            yield f"micro_batch: is {self.micro_batch}, must divide train.batch, which is {self.batch}"
        if self.compile and self.activation_checkpointing:
            yield "compile: is true with train.activation_checkpointing true; choose one of them"


class Execution(Section):
    workers: int = key("processes that read the training clips, beside each training process", 0, 0, 1000)
    checkpoint_steps: Count | None = key("steps from one checkpoint to the next; null for one after each epoch", None)
    checkpoints_kept: int = key("newest checkpoints kept of an unfinished run", 2, 1, 1000)
    tensorboard: bool = key("write each step's loss and rate to event files, runs/PRESET/MODEL-SEED.tensorboard", False)
    threads: int = key(
        "CPU threads of a training, an evaluation or a linear baseline; only rounding differs", 1, 1, 1000
    )


class Evaluate(Section):
    batch: Count = key("clips in a forward pass")
    bootstrap: int = key("resamples of the clips for the 95% interval", ..., 1, 1_000_000)


class Throughput(Section):
    inference_batches: Several[Count] = key("clips in a timed forward pass, in turn; where memory ends, half of it")
    training_batches: Several[Count] = key("clips in a timed training step")
    seconds: float = key("how long to time a pair in one condition; at least 5 rounds, at most 100", ..., 0.0, 3600.0)


class Params(Section):
    preset: FolderName = key("name under which results are filed: letters, digits, - and _, at most 64")
    models: Annotated[Several[SystemName], DISTINCT] = key("which of `systems` to run")
    seeds: Annotated[Several[Seed], DISTINCT] = key("a training run for each")
    linear_baseline_seeds: Annotated[tuple[Seed, ...], AS_TUPLE, DISTINCT] = key("a logistic regression for each")
    data: Data = key("where sounds come from")
    train: Train = key("the recipe that all systems share")
    evaluate: Evaluate = key("scoring")
    throughput: Throughput = key("timing of the full-size models")
    systems: dict[SystemName, System] = key("by name: what is built, trained and compared; the paper's six, and yours")
    execution: Execution = key("how a training runs; only rounding differs, and nothing is rerun", Execution())

    @property
    def comparisons(self) -> tuple[tuple[str, str], ...]:
        """Every system that is run, with each of those that it is compared with and that are run too."""
        return tuple(
            (name, other) for name in self.models for other in self.systems[name].compared_with if other in self.models
        )

    def misfits(self) -> Iterator[str]:
        for name in self.models:
            if name not in self.systems:
                yield f"systems.{name}: missing; every system in `models` needs its entry{nearest(name, self.systems)}"
        yield from system_misfits(self.systems)


def load(path: Path) -> Params:
    """Read and check a parameter file. Raises UserError naming the file, the key, the value and what is allowed."""
    try:
        return Params.model_validate(parse_yaml(str(path), path.read_bytes()))
    except FileNotFoundError as error:
        raise UserError(f"{path}: missing; run in the repository root, or `make preset NAME=instruments`") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except ValidationError as error:
        raise UserError(f"{path}: {first_error(error, Params)}") from error


def mirror(params: Params) -> Path | None:
    """The mirror folder: data.mirror, or else the environment's DCLS_HARNESS_MIRROR."""
    given = params.data.mirror or os.environ.get("DCLS_HARNESS_MIRROR")
    return Path(given) if given else None
