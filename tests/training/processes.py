"""`python -m harness` as real processes without their seconds of imports: forks of one that has imported everything.

Started as a script it takes commands from its standard input, a JSON object a line, and answers each with the process
number of its fork and, once that has ended, with its exit status (negative: by that signal).
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tests.conftest import ROOT


@dataclass
class Started:
    """A running `python -m harness ...` in `folder`; what it prints goes to `log`."""

    pid: int
    log: Path
    _answers: IO[str]

    def wait(self) -> int:
        return int(self._answers.readline())


class Nursery:
    """Starts processes, one at a time each; several nurseries run side by side."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.training.processes"],
            cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, folder: Path, *arguments: str, log: str = "log.txt", **environment: str) -> Started:
        assert self._process.stdin is not None and self._process.stdout is not None
        (folder / log).write_text("")
        command = {"folder": str(folder), "arguments": arguments, "environment": environment, "log": log}
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return Started(int(self._process.stdout.readline()), folder / log, self._process.stdout)

    def run(self, folder: Path, *arguments: str, status: int = 0) -> str:
        """What it printed; it must end with this exit status."""
        started = self.start(folder, *arguments)
        found = started.wait()
        assert found == status, (found, started.log.read_text())
        return started.log.read_text()

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def _serve() -> None:
    from harness.__main__ import COMMANDS, main
    from harness.records.code_closure import STAGES

    for stage in ("train", "evaluate", "examples", "replay"):  # which `main` would import in each fork
        importlib.import_module((STAGES | COMMANDS)[stage][0])
    for line in sys.stdin:
        command = json.loads(line)
        pid = os.fork()
        if pid == 0:
            os.chdir(command["folder"])
            os.environ.update(command["environment"])
            log = os.open(command["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(log, 1)
            os.dup2(log, 2)
            sys.argv = ["harness", *command["arguments"]]
            status = 1
            try:
                status = main()
            except SystemExit as end:
                status = end.code if isinstance(end.code, int) else 1
            except BaseException:
                import traceback

                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    _serve()
