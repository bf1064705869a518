"""What stands in each result file: typed, versioned, in this one place.

A JSON file is a model below, checked when it is written and when it is read; a CSV is a tuple of column names. Where a
file's meaning changes, its version goes up, and an older file is refused by name instead of being misread.
docs/recorded.md says what the columns mean.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from harness.base.errors import UserError
from harness.base.files import read_json

SCHEMA_VERSION = 3  # of every JSON file that has one

LEVELS = {"q05": 0.05, "q25": 0.25, "q50": 0.5, "q75": 0.75, "q95": 0.95}  # quantiles over a stage's elements

HISTORY = ("epoch", "learning_rate", "train_loss", "val_mAP")
LIVE_HISTORY = ("backbone", "method", "seed", "epoch", "train_loss", "val_mAP_percent")  # plots/history.csv
POSITIONS = (  # displacement and spread in cells; support, moved and at_border are shares
    *("epoch", "stage", "layer", "elements", "mean_displacement", "mean_distance_from_centre", "mean_spread"),
    *("at_border", "mean_support", "moved", "gradient"),
    *(f"{name}_{level}" for name in ("displacement", "spread", "support") for level in LEVELS),
)
POSITION_DENSITY = ("epoch", "stage", "row", "column", "count")
TRAJECTORIES = ("epoch", "stage", "element", "channel", "row", "column")
KERNELS = ("epoch", "stage", "layer", "channel", "largest", "values")
PER_CLASS = ("label", "positives", "clips", "AP", "AUC")
CALIBRATION = ("low", "high", "count", "mean_predicted", "observed")
PER_CLASS_DIFFERENCE = (
    *("model", "baseline", "label", "positives"),
    *("AP_baseline", "AP", "difference", "low", "high"),
)

Counts = dict[str, int]


class Result(BaseModel):
    """What all JSON results have in common: no key is unknown, none can be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Record(Result):
    """What was computed and what determines it: the same parameters, data, code, libraries and device give the same
    record. When and where it was computed, and how long that took, is in a Log."""

    schema_version: Literal[3]
    kind: str
    parameters: dict[str, Any]  # those that the result depends on
    data_fingerprint: str  # of the packed clips; `none` where no clip is read
    code_fingerprint: str | None  # of the code of its stage (code_closure.stage_fingerprint)
    versions: dict[str, str | None]
    device: str
    instruction_set: str | None  # that PyTorch computes with on a CPU, such as AVX2; null where it computes nothing
    precision: str
    revision: str | None = None  # of the repository, in results that are older than code fingerprints


class Log(Result):
    """runs/PRESET/NAME.log.json, beside the weights and outside Git: what changes from one run to the next."""

    command: str
    finished: str  # ISO 8601, UTC
    seconds: float | None
    revision: str | None  # null outside a Git repository
    dirty: bool | None  # tracked files but results and params.yaml were changed
    host: dict[str, JsonValue]
    resumed_at: tuple[int, int] | None = None  # epoch and step at which the last session of a training began
    clips_per_second: float | None = None
    waiting_fraction: float | None = None  # of a training step's time, spent waiting for clips


class TrainingRecord(Record):
    """runs/MODEL-SEED/training/run.json"""

    kind: Literal["training"]
    model: str
    seed: int
    start: dict[str, JsonValue]  # where the weights began: random, or a file and its SHA-256
    processes: int
    threads: int
    classes: int
    trained_parameters: int
    convolutions: Literal["rule"] | list[dict[str, JsonValue]]  # what was chosen, where it was measured


class EvaluationRecord(Record):
    """runs/MODEL-SEED/evaluation/evaluation.json"""

    kind: Literal["evaluation"]
    model: str
    seed: int
    weights_sha256: str | None = None  # of the model.safetensors that was scored; older results lack it


class LinearBaselineRecord(Record):
    """runs/linear_baseline-SEED/evaluation/evaluation.json"""

    kind: Literal["linear_baseline"]
    model: str
    seed: int
    train_clips: int
    inverse_penalty: float  # scikit-learn's C, the best on the validation clips
    val_mAP: float


class ComparisonRecord(Record):
    """comparison.run.json"""

    kind: Literal["comparison"]
    models: list[str]
    seeds: list[int]


class ExamplesRecord(Record):
    """examples/run.json"""

    kind: Literal["examples"]
    models: list[str]
    seeds: list[int]


class ParametersRecord(Record):
    """parameters.run.json"""

    kind: Literal["parameters"]
    models: list[str]
    scale: Literal["full"]


class Metrics(Result):
    """metrics.json: of the test clips. mAP and its 95% interval over clips in [0, 1]."""

    mAP: float
    mAP_low: float
    mAP_high: float
    mean_auc: float
    d_prime_of_mean_auc: float
    d_prime_mean_of_classes: float
    prevalence: float
    clips: int
    classes: int
    classes_left_out: int
    expected_calibration_error: float | None = None  # older results lack it


class Pair(Result):
    """`model` minus `baseline`, in mAP of [0, 1]: by seed, their mean, and its intervals (see comparison.paired)."""

    model: str
    baseline: str
    unfair: str  # what the two trainings differ in but the convolution; empty for a fair pair
    differences: dict[str, float]
    clips: int
    test_sets: int
    mean: float
    sd: float | None
    n: int
    clips_low: float
    clips_high: float
    low: float | None
    high: float | None
    verdict: str
    verdict_for_these_weights: str


class Comparison(Result):
    """comparison.json"""

    schema_version: Literal[3]
    resamples: int
    pairs: list[Pair]


class ClassCount(Result):
    head: int
    total: int


class ParameterCount(Result):
    """Trainable parameters of a full-size model by part, and by number of classes."""

    convolution: str  # 7x7, or DCLS 26 in 23x23, gauss
    backbone: int
    kernels: int
    positions: int
    spreads: int
    features: int
    classes: dict[str, ClassCount]


class Parameters(Result):
    """parameters.json"""

    models: dict[str, ParameterCount]


class Example(Result):
    id: str
    labels: list[str]
    audio: str | None
    licence: str | None
    recordings: list[dict[str, str]]
    predictions: dict[str, list[dict[str, str | float]]]
    log_mel: dict[str, JsonValue]


class Examples(Result):
    """examples/examples.json"""

    schema_version: Literal[3]
    seed: int
    clips: list[Example]


class DataSummary(Result):
    """data.json: what `featurize` packed. The kinds of data that list their clips say more about what is missing."""

    schema_version: Literal[3]
    preset: str
    kind: str
    classes: int
    fingerprint: str
    clips: Counts
    seconds: dict[str, float]
    rows: int
    statuses: Counts
    clips_per_class: dict[str, Counts] | None = None
    lengths: dict[str, JsonValue] | None = None
    sampled_at: Counts | None = None  # sounds that were decoded, by their sample rate in Hz
    bad: Counts | None = None
    statuses_per_split: dict[str, Counts] | None = None
    statuses_per_source: dict[str, Counts] | None = None
    coverage: dict[str, JsonValue] | None = None
    leakage: JsonValue = None
    hdf5_rows: dict[str, list[int]] | None = None
    in_place: dict[str, str] | None = None  # the form of each split whose clips are decoded while they are read


class Hardware(Result):
    """runs/hardware.json: what timings depend on."""

    schema_version: Literal[3]
    processor: str
    cores: int
    gpus: list[str]
    system: str
    torch: str | None


class TimedDevice(Result):
    """results/throughput/device.json: the device whose timings the tables show, by its label."""

    schema_version: Literal[3]
    device: str


T = TypeVar("T", bound=Result)
RECORDS: dict[str, type[Record]] = {
    "training": TrainingRecord,
    "evaluation": EvaluationRecord,
    "linear_baseline": LinearBaselineRecord,
    "comparison": ComparisonRecord,
    "examples": ExamplesRecord,
    "parameters": ParametersRecord,
}


def checked(schema: type[T], content: dict[str, Any]) -> dict[str, Any]:
    """`content` as JSON values, once it is sure to fit. Raises ValidationError where the code that made it is wrong."""
    return schema.model_validate(content).model_dump(mode="json", exclude_unset=True)


def read_result(path: Path, schema: type[T]) -> T:
    """Raises UserError, naming the file and the key, where it is missing, damaged, or of another version."""
    return parse_result(str(path), read_json(path), schema)


def parse_result(name: str, content: Any, schema: type[T]) -> T:
    """The content of the file called `name`, as read. Raises UserError as `read_result` does."""
    try:
        return schema.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"])) or "its content"
        if key == "schema_version" and isinstance(content, dict):
            raise UserError(f"{name}: schema version {content.get(key)}; run its stage again with this code") from error
        what = {"missing": f"no {key!r} in it", "extra_forbidden": f"{key!r} is unknown"}.get(
            first["type"], f"{key!r}: {first['msg']}"
        )
        raise UserError(f"{name}: {what}; another version wrote it, run its stage again") from error
