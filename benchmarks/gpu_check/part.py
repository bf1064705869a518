"""A part in a process of its own: `python -m benchmarks.gpu_check.part NAME --out FOLDER --device cuda [--tiny]`."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

import torch

from benchmarks.gpu_check.check import Check, Failed, LeftOut, tiny_size
from benchmarks.gpu_check.plan import LEFT_OUT, PARTS
from harness.base.errors import UserError
from harness.models import build as models


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=[part.name for part in PARTS])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", choices=("cuda", "cpu"), required=True)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--revision")
    given = parser.parse_args()
    device = torch.device("cuda", 0) if given.device == "cuda" else torch.device("cpu")
    if given.tiny:
        models.full_size = tiny_size
    check = Check(given.part, given.out, device, given.tiny, given.revision)
    module = next(part.module for part in PARTS if part.name == given.part)
    try:
        if check.on_gpu and not torch.cuda.is_available():
            raise Failed("torch has no GPU here; look at nvidia-smi, or give --device cpu")
        importlib.import_module(f"benchmarks.gpu_check.{module}").run(check)
    except LeftOut as reason:
        print(f"left out: {reason}", flush=True)
        raise SystemExit(LEFT_OUT) from None
    except (Failed, UserError) as reason:
        print(f"failed: {reason}", flush=True)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
