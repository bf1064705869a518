"""What to ask a GPU first: tests, speed ratios, training, data loading, two processes; all of it within 8 minutes.

`benchmarks/gpu_check.sh` runs it (docs/throughput.md, "The first minutes on a GPU"). Each part is a module with a
function `run`, called in a process of its own that may be killed at its time limit.
"""
