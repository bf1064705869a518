"""That a process keeps the memory it frees."""

import subprocess
import sys

import pytest

MAPPED = """
import ctypes
import sys
import torch
from harness.running.memory import keep_freed_memory
class Mallinfo2(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in "arena ordblks smblks hblks hblkhd".split()]
    _fields_ += [(f"more{number}", ctypes.c_size_t) for number in range(5)]
if sys.argv[1] == "kept":
    keep_freed_memory()
mallinfo2 = ctypes.CDLL(None).mallinfo2
mallinfo2.restype = Mallinfo2
before = mallinfo2().hblkhd
activation = torch.ones(5 << 20)
print(mallinfo2().hblkhd - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks glibc")
def test_large_tensors_are_not_mapped_one_by_one() -> None:
    """Else each is given back to the kernel when it is freed, and its pages are cleared anew at the next step."""
    mapped = {
        how: int(subprocess.run([sys.executable, "-c", MAPPED, how], capture_output=True, check=True, text=True).stdout)
        for how in ("kept", "let go")
    }
    assert mapped["kept"] == 0 and mapped["let go"] >= 4 * (5 << 20), mapped
