"""A stage under way: a `dvc repro --single-item` of its own, what it prints, how fast it goes, why it failed."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil
from tqdm import tqdm

LOGS = Path(".cache/repro")  # what each stage printed the last time
BY_DVC = re.compile(  # what `dvc repro` prints around a stage's own lines
    r"Running stage '|> |(Updating|Generating) lock file|To (track the changes|enable auto staging)|\tgit add|"
    r"\tdvc config|Use `dvc push`|ERROR: failed to reproduce|\s*$"
)


class StageProcess:
    """The stage `name`, started. Its process group is its own, so that Ctrl-C reaches it only through `stop`."""

    def __init__(self, name: str, slot: int, environment: Mapping[str, str], seconds: float | None) -> None:
        self.log, self.slot, self.begun = LOGS / f"{name.replace('/', '_')}.log", slot, time.monotonic()
        self.ends = self.begun + seconds if seconds else None  # when it will, if that can be told
        self.line = self.rate = ""
        self.first = 0  # n of the first "n/total" that it printed, say of an epoch
        self.told = False  # to stop
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", "--single-item", name],
                env=os.environ | {"PATH": path, "PYTHONUNBUFFERED": "1"} | environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,
            )
        self.printed = open(self.log, "rb")  # noqa: SIM115

    def new_lines(self) -> Iterator[str]:
        """What the stage has printed since the last call. An "n/total" in it tells its rate."""
        while (raw := self.printed.readline()).endswith(b"\n"):
            text, now = raw.decode(errors="replace").rstrip().rpartition("\r")[2], time.monotonic()
            if BY_DVC.match(text):
                continue
            if counted := re.search(r"\b(\d+)/(\d+)\b", text):
                n, total = int(counted[1]), int(counted[2])
                self.first = self.first or n
                each = (now - self.begun) / max(1, n - self.first + 1)
                self.rate, self.ends = f" {each:.1f} s each,", now + each * (total - n)
            self.line = text
            yield text
        self.printed.seek(-len(raw), os.SEEK_CUR)

    def left(self) -> float | None:
        """Seconds, where that can be told."""
        return None if self.ends is None else max(0.0, self.ends - time.monotonic())

    def pace(self) -> str:
        left = "" if self.ends is None else f" {tqdm.format_interval(self.left())} left,"
        return f"{tqdm.format_interval(time.monotonic() - self.begun)},{left}{self.rate} {self.line}"

    def stop(self) -> None:
        """Ctrl-C, once, for the stage's command and all below it, but not for DVC, which may be writing its files."""
        with contextlib.suppress(psutil.NoSuchProcess):
            for command in [] if self.told else psutil.Process(self.process.pid).children():
                if time.time() - command.create_time() > 0.5:  # before that it may still be DVC's fork
                    self.told = True
                    for each in (*command.children(recursive=True), command):
                        each.send_signal(signal.SIGINT)

    def reason(self) -> str:
        """Why it failed, on one line: its own last line and exit status, or what DVC did not like."""
        lines = self.log.read_text(errors="replace").splitlines()
        own = [line for line in lines if not BY_DVC.match(line)] or ["it printed nothing"]
        last = next((line for line in reversed(lines) if line.startswith("ERROR: ")), "")
        if status := re.search(r"failed to run: .*, exited with (-?\d+)$", last):
            return f"{own[-1]} (exit status {status[1]})"
        return in_use("\n".join(lines)) or last.removeprefix("ERROR: ") or own[-1]


def in_use(said: str) -> str:
    """In place of DVC's advice to delete its lock, where it `said` so; else empty."""
    holders = re.findall(r"\(PID (\d+)\)", said) if "is being blocked by" in said else []
    return (
        f"process {', '.join(holders)} works on its files; wait for it or stop it, and run it again" if holders else ""
    )
