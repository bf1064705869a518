"""What weights say of themselves, in their own file: enough to build their model and to read recordings for it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError
from safetensors import SafetensorError, safe_open

from harness.audio import front_end, units
from harness.base.errors import UserError
from harness.config.systems import Model
from harness.data.clips.labels import Label

KEY = "dcls_audio"  # in the metadata of a safetensors file: one key, as their order is not the same each time
BAND_LIMITS = {"instruments": 8000.0}  # Hz: what `featurize` takes away above, by data.kind


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class FrontEndConstants(_Part):
    """Hz, samples at `sample_rate`, and dB."""

    sample_rate: int = units.SAMPLE_RATE
    window: int = 1024
    hop: int = units.HOP
    mel_bands: int = units.MEL_BANDS
    lowest_hz: float = units.LOWEST_HZ
    highest_hz: float = units.HIGHEST_HZ
    floor: float = front_end.FLOOR
    mean: float = front_end.MEAN
    std: float = front_end.STD
    band_limit_hz: float | None = None  # of the recordings it was trained on; null for none


class Description(_Part):
    """`labels` are display names in the order of the logits, `mids` AudioSet's ids of them."""

    format: Literal[1] = 1
    system: str
    seed: int
    preset: str
    data_kind: str
    model: Model
    labels: tuple[str, ...]
    mids: tuple[str, ...]
    clip_seconds: float
    front_end: FrontEndConstants
    licences: tuple[str, ...] = ()  # of the recordings; this and the next two are written by `export`
    metrics: dict[str, JsonValue] | None = None
    record: dict[str, JsonValue] | None = None  # run.json: parameters, data and code fingerprints, versions

    @property
    def title(self) -> str:
        return f"{self.system}-{self.seed}"

    def metadata(self) -> dict[str, str]:
        """Of a safetensors file."""
        return {KEY: self.model_dump_json()}


def describe(record: Mapping[str, Any], labels: Sequence[Label]) -> Description:
    """Of the weights that a training's record (run.json) belongs to."""
    parameters = record["parameters"]
    kind = parameters["data"]["kind"]
    return Description(
        system=record["model"],
        seed=record["seed"],
        preset=parameters["preset"],
        data_kind=kind,
        model=Model.model_validate_json(json.dumps(parameters["model"])),
        labels=tuple(label.name for label in labels),
        mids=tuple(label.mid for label in labels),
        clip_seconds=parameters["data"]["clip_seconds"],
        front_end=FrontEndConstants(band_limit_hz=BAND_LIMITS.get(kind)),
    )


def read_description(path: Path) -> Description | None:
    """What a safetensors file says of itself; None where it says nothing.

    Raises UserError, naming the file, where it is missing or damaged, or was made for another front end.
    """
    try:
        with safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get(KEY)
        found = None if text is None else Description.model_validate_json(text)
    except FileNotFoundError as error:
        raise UserError(f"{path}: missing; name a .safetensors file that `train` or `export` wrote") from error
    except (OSError, SafetensorError, ValidationError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path}: cannot be read as safetensors ({reason}); export or train it again") from error
    if found and (theirs := found.front_end) != (ours := FrontEndConstants(band_limit_hz=theirs.band_limit_hz)):
        differs = next(name for name, value in ours if getattr(theirs, name) != value)
        raise UserError(
            f"{path}: was made with {differs} {getattr(theirs, differs)}, this code has {getattr(ours, differs)}; "
            "use the version of this repository that made it"
        )
    return found
