"""Settings of all tests here."""

import os

import pytest
import torch

import dcls

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # Triton's kernels then run on a CPU, slowly; read when they are imported

# on busy cores, threads that wait for each other cost far more than these small sizes take
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _default_choice():
    """Every test starts with the default, whatever the one before it chose."""
    dcls.use_convolution("rule")
