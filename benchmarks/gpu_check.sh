#!/usr/bin/env bash
# What to ask a GPU first, within 8 minutes: see docs/throughput.md, "The first minutes on a GPU".
# Needs a python3 with PyTorch, and neither DVC nor .venv; PYTHON=... names another one.
#   bash benchmarks/gpu_check.sh [--out FOLDER] [--wheels FOLDER] [--revision COMMIT] [--parts NAME,...]
#   bash benchmarks/gpu_check.sh --device cpu --tiny      the same code on a CPU, small
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
export PATH="$PATH:/usr/local/nvidia/bin:/usr/local/cuda/bin"
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
exec "${PYTHON:-python3}" -m benchmarks.gpu_check "$@"
