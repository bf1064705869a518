"""params.yaml as frozen models: type, range and meaning of every key, and which values go together."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from harness.base.errors import UserError
from harness.config.messages import BrokenRule, first_error, nearest
from harness.config.strict_yaml import parse_yaml
from harness.config.systems import MODELS, baseline_of

MOST_CLIPS = 1_000_000_000  # and batches and steps of them
MOST_SEED = 2**32 - 1  # what every library takes
SHORTEST = 1.27  # seconds: 128 frames, which the stem and three halvings bring down to one column
LONGEST = 4096  # characters of a text
UNPRINTABLE = {"Cc", "Cs", "Zl", "Zp"}  # Unicode's categories of control characters, half characters and line ends

T = TypeVar("T")


def _key(meaning: str, default: Any = ..., least: float | None = None, most: float | None = None) -> Any:
    """A key with its meaning, its value where it is left out (`...`: it must be given) and its bounds, inclusive."""
    return Field(default, ge=least, le=most, description=meaning)


def _must(words: str, holds: Callable[[Any], object]) -> AfterValidator:
    """A rule for one value, in the words that follow `must` in the message."""

    def check(value: T) -> T:
        if not holds(value):
            raise BrokenRule(words)
        return value

    return AfterValidator(check)


def _is_line(text: str) -> bool:
    odd = {unicodedata.category(character) for character in text} & UNPRINTABLE
    return bool(text.strip()) and len(text) <= LONGEST and not odd


if TYPE_CHECKING:
    System = str
else:
    System = Literal[MODELS]  # which type checkers cannot read
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Rate = Annotated[float, Field(ge=0.0, le=10.0)]
Count = Annotated[int, Field(ge=1, le=MOST_CLIPS)]
Depth = Annotated[int, Field(ge=1, le=100)]
Width = Annotated[int, Field(ge=8, le=8192)]
Seed = Annotated[int, Field(ge=0, le=MOST_SEED)]
Odd = Annotated[int, _must("be odd", lambda number: number % 2)]
Text = Annotated[str, _must(f"be one line of 1 to {LONGEST} characters", _is_line)]
ClassList = Annotated[
    Text, _must("be used, audioset, or the path of a .csv file", re.compile("used|audioset|(?i:.*[.]csv)").fullmatch)
]
FolderName = Annotated[
    str,
    _must("be letters, digits, - and _, at most 64, no - first", re.compile(r"(?a)\w[\w-]{0,63}").fullmatch),
    _must("be another name: results/throughput is for every preset", lambda name: name.lower() != "throughput"),
]
AS_TUPLE = BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)
Several = Annotated[tuple[T, ...], Field(min_length=1), AS_TUPLE]
DISTINCT = _must("not name one twice", lambda values: len(set(values)) == len(values))


class Section(BaseModel):
    """What all sections have in common: no value is converted, no key is unknown, nothing can be changed."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    def misfits(self) -> Iterator[str]:
        """Which values do not go together, each as `KEY: is VALUE, must ...`."""
        yield from ()

    @model_validator(mode="after")
    def _fits(self) -> Section:
        for misfit in self.misfits():
            raise ValueError(misfit)
        return self


class Audioset(Section):
    audio: Several[Text] | None = _key("folders with the recordings, at any depth", None)
    train_segments: Several[Text] | None = _key("AudioSet's segment CSVs to train on", None)
    val_segments: Text | None = _key("segment CSV to validate on; null for val_fraction", None)
    test_segments: Text | None = _key("segment CSV to test on", None)
    train_hdf5: Several[Text] | None = _key("HDF5 files, as PANNs packs them, to train on", None)
    val_hdf5: Text | None = _key("HDF5 file to validate on; null for val_fraction", None)
    test_hdf5: Text | None = _key("HDF5 file to test on", None)
    val_fraction: float = _key("share of the training clips to validate on, by the hash of the id", 0.005, 0.0, 0.5)

    def files(self, kind: Literal["segments", "hdf5"]) -> dict[str, tuple[str, ...]]:
        """The segment CSVs or the HDF5 files of each split, as the parameters name them."""
        named = {split: getattr(self, f"{split}_{kind}") or () for split in ("train", "val", "test")}
        return {split: (names,) if isinstance(names, str) else names for split, names in named.items()}

    @property
    def held_out_fraction(self) -> float:
        """The share of the training clips that validates: none where other clips are named for that."""
        return 0.0 if self.val_segments or self.val_hdf5 else self.val_fraction

    def split_with_files(self, split: str) -> str:
        """The split whose files hold the clips of `split`: those held out for validation are in the training files."""
        return "train" if split == "val" and self.held_out_fraction else split


class Data(Section):
    kind: Literal["instruments", "esc10", "folder", "audioset"] = _key("where the recordings come from")
    clip_seconds: float = _key("length of a clip; shorter ones are zero-padded, longer ones cut", ..., SHORTEST, 60.0)
    mirror: Text | None = _key("folder searched for every download before the network", None)
    csv: Text | None = _key("folder: CSV with the columns path, labels, split", None)
    label_list: ClassList = _key("classes: `audioset`, a .csv file, or for folder `used`: those in data.csv", "used")
    audioset: Audioset | None = _key("audioset: where its files are", None)
    max_bad_fraction: Share = _key("share of a split's clips that may be bad; with more, featurize stops", 0.01)
    train_mixtures: Count = _key("instruments: mixtures an epoch, drawn afresh each epoch", 1)
    val_mixtures: Count = _key("instruments: validation mixtures", 1)
    test_mixtures: Count = _key("instruments: test mixtures", 1)
    mixture_seed: Seed = _key("instruments: seed of the mixtures", 0)

    @property
    def is_listed(self) -> bool:
        """Whether the user lists the clips, few or many, so that they are worked on in blocks."""
        return self.kind in ("folder", "audioset")

    @property
    def audioset_files(self) -> Audioset:
        """The section `audioset`, which data of that kind always have."""
        assert self.audioset is not None
        return self.audioset

    def misfits(self) -> Iterator[str]:
        if self.kind == "folder" and not self.csv:
            yield "csv: missing; data.kind folder needs a CSV with the columns path, labels, split"
        if self.kind != "audioset":
            return
        if self.label_list == "used":
            yield "label_list: is 'used', must be audioset or the path of a .csv file at data.kind audioset"
        given = self.audioset or Audioset()
        if bool(given.audio) == bool(given.test_hdf5):
            yield "audioset: must name either audio, with test_segments, or test_hdf5 at data.kind audioset"
        if given.audio and not given.test_segments:
            yield "audioset.test_segments: missing; audio needs the segment CSV of the clips to test on"
        if given.audio and (given.train_hdf5 or given.val_hdf5):
            yield "audioset.audio: must be null with train_hdf5 or val_hdf5"
        for files in (given.files("segments"), given.files("hdf5")):
            named = [name for names in files.values() for name in names]
            for name in (name for name in named if named.count(name) > 1):
                yield f"audioset: {name} is named twice; a file must train, validate or test"
        held_out = given.val_segments or given.val_hdf5 or given.val_fraction
        if (given.train_segments or given.train_hdf5) and not held_out:
            yield "audioset.val_fraction: is 0.0, must be above 0 without val_segments and val_hdf5"


class Model(Section):
    scale: Literal["full", "reduced"] = _key("the paper's full size, or the depths and widths given here")
    optimizer: Literal["adamw", "lamb"] = _key("the paper: lamb for ConvFormer, adamw for the others")
    epochs: int = _key("passes over the training clips; 0 with start published, used as they are", ..., 0, 10_000)
    learning_rate: Rate = _key("peak learning rate; P and SIG take five times it")
    drop_path: float = _key("rate of the last block, rising linearly from 0", ..., 0.0, 0.9)
    layer_scale: Rate | None = _key("start of the layer scale, null for the backbone's own", None)
    depths: Several[Depth] | None = _key("reduced: blocks in each of the four stages", None)
    widths: Several[Width] | None = _key("reduced: channels of each of the four stages", None)
    start: Literal["random", "imagenet", "published"] = _key(
        "start weights; the paper: imagenet, but random for FastViT; published: the authors' trained ones", "random"
    )
    weights: Text | None = _key("file (.pth, .safetensors) with the weights of `start`; null for the network", None)

    def misfits(self) -> Iterator[str]:
        if (self.epochs == 0) != (self.start == "published"):
            which = "must be 0 with start published, which are evaluated as they are, and at least 1 otherwise"
            yield f"epochs: is {self.epochs} with start {self.start}; {which}"
        if self.weights and self.start == "random":
            yield f"weights: is {self.weights}, but start is random; set start or drop it"
        if self.start != "random" and self.scale == "reduced":
            yield f"start: is {self.start}, must be random at scale reduced (no such weights)"
        for name, values in (("depths", self.depths), ("widths", self.widths)):
            if self.scale == "reduced" and len(values or ()) != 4:
                yield f"{name}: is {values and list(values)}, must be four whole numbers at scale reduced"
            if self.scale == "full" and values:
                yield f"{name}: is {list(values)}, must be null at scale full"


class Dcls(Section):
    kernel_count: int = _key("elements in a kernel", ..., 1, 1000)
    dilated_kernel_size: Odd = _key("side of the dense kernel, odd", ..., 1, 255)
    version: Literal["gauss", "max", "v1", "v0"] = _key("interpolation")


class Train(Section):
    warmup_fraction: Share = _key("share of the epochs with linear warm-up from 0")
    batch: Count = _key("clips in an optimizer step")
    final_learning_rate: Rate = _key("where the cosine ends")
    weight_decay: Rate = _key("none on 1-d tensors, biases, P and SIG")
    mixup_alpha: float = _key("lambda from Beta(alpha, alpha), one a batch; 0 turns mixup off", ..., 0.0, 100.0)
    label_smoothing: Share = _key("t -> (1 - s) t + s / classes, before mixing")
    roll: bool = _key("circular roll of the waveform by a uniform shift")
    speed_probability: Share = _key("chance of a speed change")
    speed_low: float = _key("lowest rate", ..., 0.1, 10.0)
    speed_high: float = _key("highest rate", ..., 0.1, 10.0)
    erase_probability: Share = _key("chance of erasing a rectangle of the power spectrogram")
    micro_batch: Count | None = _key("clips in a forward pass and a mixup, which add up to `batch`; null for all", None)
    precision: Literal["float32", "tf32", "bf16", "fp16"] = _key(
        "of the model in training: tf32 on CUDA, bf16 and fp16 (CUDA) by autocast; scoring is in float32", "float32"
    )
    channels_last: bool = _key("memory layout of the convolutions; rounding apart, no effect", True)
    compile: bool = _key("torch.compile the model; rounding apart, no effect", False)
    activation_checkpointing: bool = _key("compute activations again in the backward pass; no effect", False)
    deterministic: bool = _key("CUDA: only algorithms that give the same bits each time, as a CPU always does", False)
    convolution: Literal["rule", "measured"] = _key(
        "of DCLS layers: by `rule`, the same bits each time, or the fastest `measured`; scoring is by rule", "rule"
    )
    ema_decay: float | None = _key(
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
    workers: int = _key("processes that read the training clips, beside each training process", 0, 0, 1000)
    checkpoint_steps: Count | None = _key("steps from one checkpoint to the next; null for one after each epoch", None)
    checkpoints_kept: int = _key("newest checkpoints kept of an unfinished run", 2, 1, 1000)
    threads: int = _key(
        "CPU threads of a training, an evaluation or a linear baseline; only rounding differs", 1, 1, 1000
    )


class Evaluate(Section):
    batch: Count = _key("clips in a forward pass")
    bootstrap: int = _key("resamples of the clips for the 95% interval", ..., 1, 1_000_000)


class Throughput(Section):
    inference_batches: Several[Count] = _key("clips in a timed forward pass, in turn; where memory ends, half of it")
    training_batches: Several[Count] = _key("clips in a timed training step")
    seconds: float = _key("how long to time a pair in one condition; at least 5 rounds, at most 100", ..., 0.0, 3600.0)


class Params(Section):
    preset: FolderName = _key("name under which results are filed: letters, digits, - and _, at most 64")
    models: Annotated[Several[System], DISTINCT] = _key("which of the six systems to run")
    seeds: Annotated[Several[Seed], DISTINCT] = _key("a training run for each")
    linear_baseline_seeds: Annotated[tuple[Seed, ...], AS_TUPLE, DISTINCT] = _key("a logistic regression for each")
    data: Data = _key("where sounds come from")
    dcls: Dcls = _key("the convolution of the DCLS models")
    train: Train = _key("the recipe that all models share")
    evaluate: Evaluate = _key("scoring")
    throughput: Throughput = _key("timing of the full-size models")
    per_model: dict[str, Model] = _key("settings of one model; changing them reruns that model alone")
    execution: Execution = _key("how a training runs; only rounding differs, and nothing is rerun", Execution())

    def misfits(self) -> Iterator[str]:
        for model in self.per_model:
            if model not in MODELS:
                yield f"per_model.{model}: unknown model{nearest(model, MODELS)}; known: {', '.join(MODELS)}"
        for model in self.models:
            mine, base = self.per_model.get(model), self.per_model.get(baseline_of(model))
            if mine is None:
                yield f"per_model.{model}: missing; every model in `models` needs its settings"
            elif base and (mine.scale, mine.depths, mine.widths) != (base.scale, base.depths, base.widths):
                same = f"must equal those of {baseline_of(model)}, to compare"
                yield f"per_model.{model}: scale, depths and widths {same}"


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
