"""Where the time of the DCLS models goes with elements spread over the kernel: `python -m benchmarks.profile`.

Writes benchmarks/results/profile-*.txt: PyTorch's profiler, by operator, one pass or training step a model.
"""

from __future__ import annotations

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.dcls_bench import INPUT, MODELS, RESULTS, Bench, full_size_model, step_of
from dcls import use_convolution
from harness.base.files import write_text

BATCH, ROWS = 8, 12


def main() -> None:
    use_convolution("measured")  # as the benchmark
    bench = Bench(torch.device("cpu"), BATCH)
    inputs = torch.randn(BATCH, *INPUT).contiguous(memory_format=torch.channels_last)
    lines = [
        f"batch {BATCH}, {torch.get_num_threads()} threads, float32, convolutions measured, torch {torch.__version__}"
    ]
    for name in MODELS:
        model = full_size_model(name, "spread", bench)
        for what in ("eval", "training step"):
            case = step_of(model, inputs, what)
            case()
            with profile(activities=[ProfilerActivity.CPU]) as profiled:
                case()
            events = sorted(profiled.key_averages(), key=lambda event: -event.self_cpu_time_total)
            total = sum(event.self_cpu_time_total for event in events)
            lines.append(f"\n{name}, {what}: {total / 1000:.0f} ms")
            lines += [f"  {event.self_cpu_time_total / total:6.1%}  {event.key}" for event in events[:ROWS]]
    write_text(RESULTS / f"profile-cpu-{torch.get_num_threads()}threads-spread.txt", "\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
