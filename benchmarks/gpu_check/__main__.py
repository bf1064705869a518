"""Run the parts one after the other, each within its time, then say what was found. Standard library only."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.gpu_check.limited import Clock, run_limited
from benchmarks.gpu_check.plan import FILES, LEAST, LEFT_OUT, ON_CPU, PARTS, TOTAL, Part
from benchmarks.gpu_check.summary import write_summary

ROOT = Path(__file__).parents[2]
NAMES = tuple(part.name for part in PARTS)


@dataclass(frozen=True)
class Outcome:
    """`status` is ok, failed, timed out or left out; `reason` why, in a line."""

    part: Part
    status: str
    seconds: float
    reason: str


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="benchmarks/gpu_check.sh", description="What to ask a GPU first; docs/throughput.md says more."
    )
    parser.add_argument("--out", type=Path, default=ROOT / ".cache" / "gpu_check", help="folder for at most 8 files")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="models and batches for a try on a CPU")
    parser.add_argument("--parts", default=",".join(NAMES), help="which, with commas between (default: all)")
    parser.add_argument("--wheels", type=Path, help="folder of wheels to import that the machine lacks: dcls 0.1.1 ...")
    parser.add_argument("--revision", help="the commit, to stand in the rows, of a copy without a Git repository")
    given = parser.parse_args()
    chosen = given.parts.split(",")
    for name in chosen:
        if name not in NAMES:
            refuse(f"--parts: no part {name!r}; the parts are {', '.join(NAMES)}")
    out = given.out.resolve()
    clear(out)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that the part at work is stopped
    with tempfile.TemporaryDirectory() as folder:
        unpack(given.wheels, Path(folder))
        sys.path.insert(0, folder)  # for the goals, which are judged here
        environment = environment_of(given.device, Path(folder))
        options = ["--out", str(out), "--device", given.device, *(["--tiny"] if given.tiny else [])]
        options += ["--revision", given.revision] if given.revision else []
        outcomes = run_parts([part for part in PARTS if part.name in chosen], options, out, environment)
        print(write_summary(outcomes, out), flush=True)
    raise SystemExit(any(one.status in ("failed", "timed out") for one in outcomes))


def refuse(reason: str) -> None:
    print(f"error: {reason}", file=sys.stderr)
    raise SystemExit(2)


def clear(out: Path) -> None:
    """An empty folder for results. An earlier check's are deleted; with anything else in it, the folder is refused."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        foreign = [path.name for path in out.iterdir() if path.name not in FILES and not path.name.endswith(".tmp")]
        if foreign:
            refuse(f"--out: {out} holds {foreign[0]}, which no check wrote; give an empty folder")
        for path in out.iterdir():
            path.unlink()
    except OSError as error:
        refuse(f"--out: {out}: {error.strerror}; give a folder that can be written")


def unpack(wheels: Path | None, folder: Path) -> None:
    """All wheels, to be imported from there."""
    if wheels is None:
        return
    found = sorted(wheels.glob("*.whl"))
    if not found:
        refuse(f"--wheels: {wheels} holds no wheel; give the folder that `pip download` filled")
    for wheel in found:
        try:
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(folder)
        except (OSError, zipfile.BadZipFile) as error:
            refuse(f"--wheels: {wheel}: {error}; download it again")


def environment_of(device: str, wheels: Path) -> dict[str, str]:
    before = os.environ.get("PYTHONPATH")
    path = os.pathsep.join([str(ROOT), str(wheels), *([before] if before else [])])
    hidden = {"CUDA_VISIBLE_DEVICES": ""} if device == "cpu" else {}
    return {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **hidden}


def run_parts(parts: list[Part], options: list[str], out: Path, environment: dict[str, str]) -> list[Outcome]:
    """Each in its own process, with its own limit and what is left of the whole."""
    os.chdir(ROOT)
    patience = ON_CPU if "cpu" in options else 1
    clock, outcomes = Clock(TOTAL * patience), []
    for part in parts:
        seconds = min(part.seconds * patience, clock.left)
        if seconds < LEAST:
            outcomes.append(Outcome(part, "left out", 0.0, "no time was left"))
            continue
        started, command = time.monotonic(), [sys.executable, "-m", "benchmarks.gpu_check.part", part.name, *options]
        with open(out / "log.txt", "ab") as log:
            log.write(f"\n==== {part.name}: {part.words}\n".encode())
            log.flush()
            status = run_limited(command, seconds, log, environment)
        words = {0: "ok", LEFT_OUT: "left out", None: "timed out"}.get(status, "failed")
        reason = "" if status == 0 else f"within {seconds:.0f} s" if status is None else last_line(out / "log.txt")
        outcomes.append(Outcome(part, words, time.monotonic() - started, reason))
        print(f"{part.name}: {words} ({outcomes[-1].seconds:.0f} s) {reason[:300]}", flush=True)
        for path in out.glob(".*.tmp"):  # half written when its process was killed
            path.unlink()
    return outcomes


def last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1].removeprefix("failed: ").removeprefix("left out: ")


if __name__ == "__main__":
    main()
