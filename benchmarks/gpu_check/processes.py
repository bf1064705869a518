"""Two processes that share one device, started by torchrun, against one process: the same losses.

Through NCCL, and where that refuses two processes on one GPU, through gloo. `harness train` takes a GPU a process, so
the processes here join their group themselves; all else is the harness's own.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import distributed

from benchmarks.gpu_check.check import ROOT, Check, Failed
from benchmarks.gpu_check.limited import run_limited
from benchmarks.gpu_check.plan import ON_CPU
from benchmarks.gpu_check.training import steps_of, trained
from harness.base.files import read_json, write_json
from harness.running.processes import World

MODEL = "fastvit_dcls_audio_sa24"  # the one with batch norm in all blocks
SECONDS = {"nccl": 15.0, "gloo": 20.0}  # a try; torchrun and both processes import torch first
NEAR = 1e-4  # relative: gradients are added up in another order
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--module")


def run(check: Check) -> None:
    """Raises Failed where no backend works, or losses differ."""
    alone, _ = trained(check.params, MODEL, World(0, 1, check.device), steps_of(check), "float32")
    if not check.on_gpu:
        check.say("NCCL is left out on a CPU")
    for backend in ("nccl", "gloo") if check.on_gpu else ("gloo",):
        losses, reason = together(backend, check)
        if losses is None:
            check.say(f"{backend}: {reason}")
            continue
        apart = float(np.abs(np.array(losses) / np.array(alone) - 1).max())
        said = f"{backend}, two processes on one device: losses {apart:.1e} from one process's, allowed {NEAR:.0e}"
        check.note(backend=backend, losses=losses, alone=alone)
        check.say(said)
        if apart > NEAR:
            raise Failed(said)
        return
    raise Failed("no backend let two processes share the device")


def together(backend: str, check: Check) -> tuple[list[float] | None, str]:
    """Losses of two processes, or why there are none."""
    with TemporaryDirectory() as folder:
        output, result = Path(folder) / "output.txt", Path(folder) / "losses.json"
        told = [backend, check.device.type, str(check.out), "tiny" if check.tiny else "whole", str(result)]
        only_here = {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
        with open(output, "wb") as file:
            seconds = SECONDS[backend] * (1 if check.on_gpu else ON_CPU)
            command = [*TORCHRUN, "benchmarks.gpu_check.processes", *told]
            status = run_limited(command, seconds, file, {**os.environ, **only_here})
        said = output.read_text(errors="replace")
        print(said, flush=True)
        if status == 0 and result.is_file():
            return read_json(result), ""
    if status is None:
        return None, f"no result within {seconds:.0f} s"
    if "Duplicate GPU" in said:
        return None, "left out, as it takes a GPU for each process"
    errors = [line.strip() for line in said.splitlines() if "Error" in line or "Duplicate GPU" in line]
    return None, (errors or [f"torchrun ended with {status}"])[0][:200]


def one_of_two() -> None:
    """What each of the two does; the first writes down the losses, which both know."""
    backend, kind, out, size, result = sys.argv[1:]
    device = torch.device("cuda", 0) if kind == "cuda" else torch.device("cpu")
    check = Check("processes", Path(out), device, size == "tiny")
    distributed.init_process_group(backend)
    try:
        world = World(distributed.get_rank(), distributed.get_world_size(), device)
        losses, _ = trained(check.params, MODEL, world, steps_of(check), "float32")
        if world.is_first:
            write_json(Path(result), losses)
    finally:
        distributed.destroy_process_group()


if __name__ == "__main__":
    os.chdir(ROOT)
    one_of_two()
