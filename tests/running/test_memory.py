"""That a process keeps the memory it frees."""

import subprocess
import sys

import pytest

FAULTS = """
import resource
import sys
import torch
from harness.running.memory import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
torch.ones(1 << 20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(50):
    torch.ones(1 << 20), torch.ones(1 << 21)  # 4 and 8 MB
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks glibc")
def test_freed_memory_is_not_fetched_again():
    fetched = {
        how: int(subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, check=True, text=True).stdout)
        for how in ("keep", "let go")
    }
    assert fetched["keep"] * 10 < fetched["let go"], fetched
