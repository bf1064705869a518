"""What a part is told, how it notes what it finds, and how it says that something is wrong or missing."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from harness.base.errors import UserError
from harness.base.files import read_json, write_json
from harness.config.params import Params, load
from harness.config.systems import Model
from harness.models import build as models
from harness.records.provenance import processor_name, versions
from harness.throughput.machine import Machine, this_machine
from harness.throughput.pairs import Pair, pairs

ROOT = Path(__file__).parents[2]
FULL_SIZE = models.full_size


def tiny_size(model: Model) -> Model:
    """In place of `models.full_size`, for a try on a CPU."""
    return FULL_SIZE(model).model_copy(update={"scale": "reduced", "depths": (1, 1, 1, 1), "widths": (8, 16, 32, 64)})


class Failed(Exception):
    """A check that did not hold, in a line."""


class LeftOut(Exception):
    """What is missing for the part, in a line."""


@dataclass(frozen=True)
class Check:
    """What a part is told, and where it notes what it finds."""

    part: str
    out: Path
    device: torch.device
    tiny: bool
    revision: str | None = None  # of a copy that has no Git repository

    @property
    def on_gpu(self) -> bool:
        return self.device.type == "cuda"

    @property
    def inference_batches(self) -> tuple[int, ...]:
        """The largest first, which tells most."""
        return (2, 1) if self.tiny else (128, 32, 1)

    @property
    def training_batch(self) -> int:
        return 2 if self.tiny else 32

    @property
    def pairs(self) -> list[Pair]:
        """The paper's, each a DCLS model and its baseline; of a tiny check FastViT's."""
        found = pairs(self.params)
        return found[1:2] if self.tiny else found

    @property
    def params(self) -> Params:
        """The default preset's, for timings of 0.7 seconds a pair."""
        params = load(ROOT / "presets" / "instruments.yaml")
        throughput = params.throughput.model_copy(update={"seconds": 0.0 if self.tiny else 0.7})
        return params.model_copy(update={"throughput": throughput})

    def machine(self) -> Machine:
        """As timings name it. Without nvidia-smi, torch says what the GPU is called, and the driver is not known."""
        try:
            machine = this_machine()
        except UserError as error:
            print(f"{error}; torch's name of the GPU is taken", flush=True)
            name, software = torch.cuda.get_device_name(self.device), versions("torch", "timm", "triton")
            cuda = {"gpu": name, "cuda": torch.version.cuda, "threads": torch.get_num_threads()}
            known = {"processor": processor_name(), "python": platform.python_version()}
            unknown = dict.fromkeys(("driver", "revision", "dirty"))
            machine = Machine(self.device, name, unknown | known | software | cuda)
        if machine.made_by["revision"] is None:
            machine.made_by["revision"] = self.revision
        return machine

    def found(self) -> dict[str, Any]:
        """What all parts have noted so far."""
        path = self.out / "found.json"
        return read_json(path) if path.is_file() else {}

    def note(self, **values: Any) -> None:
        """Keep values under the part's name in found.json; a part that is killed later leaves them there."""
        found = self.found()
        found[self.part] = found.get(self.part, {}) | values
        write_json(self.out / "found.json", found)

    def say(self, line: str) -> None:
        """A figure for the summary."""
        print(line, flush=True)
        self.note(figures=[*self.found().get(self.part, {}).get("figures", ()), line])
