"""That a process keeps the memory it frees."""

import subprocess
import sys

import pytest

FAULTS = """
import resource
import sys
import torch
from harness.running.memory import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
def step():
    for _ in range(5):
        [torch.ones(1 << 20) for _ in range(20)]  # activations of 4 MB, all freed at the step's end
step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks glibc")
def test_freed_memory_is_not_fetched_again():
    pages = {
        how: int(subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, check=True, text=True).stdout)
        for how in ("kept", "let go")
    }
    assert pages["kept"] < 1000 < pages["let go"], pages
