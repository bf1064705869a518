"""A stage that runs: a `dvc repro --single-item` of its own, what it prints, how to stop it, why it failed."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

LOGS = Path(".cache/repro")  # what each stage printed the last time
BY_DVC = re.compile(  # what `dvc repro` prints around a stage's own lines
    r"Running stage '|> |(Updating|Generating) lock file|To (track the changes|enable auto staging)|\tgit add|"
    r"\tdvc config|Use `dvc push`|ERROR: failed to reproduce|\s*$"
)


class StageProcess:
    """The stage `name`, started, with `environment` besides ours. Its process group is its own: Ctrl-C passes it by."""

    def __init__(self, name: str, slot: int, environment: dict[str, str]) -> None:
        self.log, self.slot, self.begun = LOGS / f"{name.replace('/', '_')}.log", slot, time.monotonic()
        self.told_to_stop = False
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        command = [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", "--single-item", name]
        whole = os.environ | {"PATH": path, "PYTHONUNBUFFERED": "1"} | environment
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                command, env=whole, stdin=subprocess.DEVNULL, stdout=log, stderr=log, process_group=0
            )
        self.printed = open(self.log, "rb")  # noqa: SIM115

    def new_lines(self) -> Iterator[str]:
        """What the stage itself has printed since the last call."""
        while (raw := self.printed.readline()).endswith(b"\n"):
            line = raw.decode(errors="replace").rstrip().rpartition("\r")[2]
            if not BY_DVC.match(line):
                yield line
        self.printed.seek(-len(raw), os.SEEK_CUR)

    def stop(self) -> None:
        """Ctrl-C, once, for the stage's command and all below it; not for DVC, which may be writing dvc.lock."""
        with contextlib.suppress(psutil.NoSuchProcess):
            for command in [] if self.told_to_stop else psutil.Process(self.process.pid).children():
                if time.time() - command.create_time() > 0.5:  # before that it may still be a fork of DVC
                    self.told_to_stop = True
                    for each in (*command.children(recursive=True), command):
                        each.send_signal(signal.SIGINT)

    def reason(self) -> str:
        """Why it failed, on one line: its own last line and exit status, or what DVC did not like."""
        lines = self.log.read_text(errors="replace").splitlines()
        own = [line for line in lines if not BY_DVC.match(line)] or ["it printed nothing"]
        last = next((line for line in reversed(lines) if line.startswith("ERROR: ")), "")
        status = re.search(r"failed to run: .*, exited with (-?\d+)$", last)
        why = (
            f"{own[-1]} (exit status {status[1]})"
            if status
            else re.sub("ERROR: (failed to reproduce '.*?': )?", "", last) or own[-1]
        )
        return f"{in_use(lines) or why}; all that it printed: {self.log}"


def in_use(said: list[str]) -> str:
    """What to do where DVC says that a file is in use, in place of its advice to delete its lock; else empty."""
    holders = re.findall(r"\(PID (\d+)\)", "\n".join(said)) if any("is busy" in line for line in said) else []
    return f"DVC works here as process {', '.join(holders)}; wait for it or stop it, then run it again" * bool(holders)
