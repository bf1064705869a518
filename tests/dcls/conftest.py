"""Settings of all tests here."""

import torch

# on busy cores, threads that wait for each other cost far more than these small sizes take
torch.set_num_threads(1)
