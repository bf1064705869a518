"""The tests marked `gpu`, in pytest; on a CPU a few of the same files, so that this is known to work."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys

from benchmarks.gpu_check.check import ROOT, Check, Failed, LeftOut

PROCESSES = 8  # that share the GPU: most of the time Triton's compiler is at work on the CPU
READ_BY = {"tests/training": ("soundfile", "soxr", "sklearn")}  # what the tests of a folder import
MOST_NAMED = 20  # failed tests in the summary; the log has all
OUTCOME = re.compile(r"\b(PASSED|FAILED|ERROR|SKIPPED)\b")
END = re.compile(r"^=+ (ERRORS|FAILURES|slowest|short test summary|warnings)")
ON_CPU = {
    "tests": ["tests/dcls/test_backends.py", "-k", "agree and torch_contiguous and cpu"],
    "more-tests": ["tests/throughput/test_rules.py", "-k", "slug or label or device"],
}


def run(check: Check) -> None:
    """Count outcomes as they come. Raises LeftOut without pytest, Failed where a test does."""
    if importlib.util.find_spec("pytest") is None:
        raise LeftOut("package pytest is missing")
    command = [sys.executable, "-m", "pytest", "-vv", "-rf", "--tb=short", "-p", "no:cacheprovider", *selection(check)]
    print(" ".join(command), flush=True)
    counts, failed, counting = dict.fromkeys(("PASSED", "FAILED", "ERROR", "SKIPPED"), 0), [], True
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as pytest:
        assert pytest.stdout is not None
        for line in pytest.stdout:
            print(line, end="", flush=True)
            counting = counting and not END.match(line)
            found = OUTCOME.search(line) if counting and "::" in line else None
            if found:
                counts[found[1]] += 1
                if found[1] in ("FAILED", "ERROR"):
                    failed.append(line.strip())
                check.note(counts=counts, failed=failed)
    said = ", ".join(f"{count} {outcome.lower()}" for outcome, count in counts.items() if count) or "none ran"
    check.say(said)
    for line in failed[:MOST_NAMED]:
        check.say(line)
    if pytest.returncode:
        raise Failed(f"pytest ended with {pytest.returncode}: {said}")


def selection(check: Check) -> list[str]:
    """Which tests, and how many at once."""
    if not check.on_gpu:
        return ["-m", "not slow and not gpu", *ON_CPU[check.part]]
    many = ["-n", str(PROCESSES)] if importlib.util.find_spec("xdist") else []
    if check.part == "tests":
        return ["-m", "gpu", *many, "tests/dcls"]
    folders = ["tests/throughput"]  # one after the other, since they fill the GPU
    for folder, packages in READ_BY.items():
        missing = [name for name in packages if importlib.util.find_spec(name) is None]
        if missing:
            check.say(f"{folder} is left out: no package {', '.join(missing)}")
        else:
            folders.append(folder)
    return ["-m", "gpu", *folders]
