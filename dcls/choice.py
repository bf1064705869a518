"""Which backend computes a depthwise convolution: by a fixed rule, or if asked for, the fastest as measured here."""

import functools
import math
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .backends import BACKENDS, memory_format_of
from .cache import is_ordinary

# Of the rule, all measured. Sides are the larger of a map's height and width; few are samples times channels.
LARGE_KERNEL = 11  # cells high or wide
CPU_FFT_SIDE, GPU_FFT_SIDE = 48, 24
GPU_WIDE, GPU_SMALL, GPU_FEW = 48, 12, 1024
ROUNDS = 3  # timed runs of each backend
MOST_MEASURED, MOST_CHOICES = 64, 4096  # problems timed in a process, and choices remembered
MUCH_SLOWER = 4  # a backend that first takes this many times as long as the fastest is timed no further


class Problem(NamedTuple):
    """All that the time of a backend depends on. ``operation`` is ``convolution`` or ``kernel_gradient``."""

    operation: str
    device: str
    dtype: str
    input: tuple[int, ...]
    kernel: tuple[int, ...]
    padding: tuple[int, ...]
    channels_last: bool


class Choice(NamedTuple):
    """The backend for a problem; milliseconds of those timed with the whole batch, and why others failed."""

    backend: str
    milliseconds: dict[str, float]
    failed: dict[str, str]


_mode = "rule"
_fixed: dict[Problem, str] = {}  # as recorded by an earlier process
_choices: dict[Problem, Choice] = {}
_near: dict[Problem, str] = {}  # what was measured, for all problems of about the same size
# private in torch; without it a counter of operations also counts the runs that are timed
_dispatch_modes: Callable[[], int] = getattr(torch._C, "_len_torch_dispatch_stack", lambda: 0)


def use_convolution(choice: str | Sequence[dict[str, Any]]) -> None:
    """Set, for this process, how depthwise convolutions of stride 1 are computed on a CPU or a CUDA device.

    - ``"rule"``, the default: by shape, memory format, dtype and kind of device, so that a rerun gives the same bits;
    - ``"measured"``: the fastest backend for each shape, dtype and device, timed at first use; shapes within a fifth of
      each other share a choice, and after 64 of those the rule applies to others. As with
      ``torch.backends.cudnn.benchmark``, two runs may then choose differently and differ in their last bits;
    - the name of a backend (``dcls.backends.BACKENDS``): that backend, and RuntimeError where it cannot run;
    - what ``convolution_choices()`` returned in another process: the same choices, and the rule for everything else.

    Results agree within the rounding of the dtype. With ``torch.use_deterministic_algorithms(True)`` "measured" means
    "rule". Raises ValueError for any other word, and for records that ``convolution_choices()`` did not make.

    Examples
    --------
    >>> import dcls
    >>> dcls.use_convolution("measured")
    >>> dcls.use_convolution("rule")
    """
    global _mode
    if isinstance(choice, str):
        if choice not in ("rule", "measured", *BACKENDS):
            raise ValueError(f"choice must be one of {('rule', 'measured', *BACKENDS)}, or records, but got {choice!r}")
        fixed = {}
    else:
        fixed = dict(map(_from_record, choice))
    forget_convolution_choices()
    _fixed.clear()
    _fixed.update(fixed)
    _mode = choice if isinstance(choice, str) else "rule"


def may_transform() -> bool:
    """Whether convolutions between all channels may be computed by Fourier transforms: not if torch's own are named."""
    return _mode in ("rule", "measured", "fft")


def convolution_choices() -> list[dict[str, Any]]:
    """The choices made so far, in order of first use, as JSON values: fields of ``Problem``, then of ``Choice``."""
    return [
        {
            **{name: list(value) if isinstance(value, tuple) else value for name, value in problem._asdict().items()},
            **choice._asdict(),
        }
        for problem, choice in _choices.items()
    ]


def forget_convolution_choices() -> None:
    """Empty ``convolution_choices()``, so that "measured" measures again. What ``use_convolution`` set stays."""
    _choices.clear()
    _near.clear()


def convolve(
    input: Tensor, kernel: Tensor, bias: Tensor | None, padding: Sequence[int], layout: torch.memory_format
) -> Tensor:
    """Depthwise convolution of input (N, C, H, W) with kernel (C, 1, *size), by the chosen backend, in ``layout``."""

    def run(n: int, name: str) -> Tensor:
        return BACKENDS[name].convolve(input[:n], kernel, bias, padding).contiguous(memory_format=layout)

    return run(input.shape[0], _backend("convolution", input, kernel.shape, padding, run))


def correlate(input: Tensor, grad: Tensor, size: Sequence[int], padding: Sequence[int]) -> Tensor:
    """Gradient (C, 1, *size) of the kernel of such a convolution, from its input and output gradient."""

    def run(n: int, name: str) -> Tensor:
        return BACKENDS[name].correlate(input[:n], grad[:n], size, padding)

    return run(input.shape[0], _backend("kernel_gradient", input, (input.shape[1], 1, *size), padding, run))


def _backend(
    operation: str, input: Tensor, kernel: Sequence[int], padding: Sequence[int], run: Callable[[int, str], Tensor]
) -> str:
    """The name of the backend; ``run(n, name)`` computes with the first n samples."""
    if not _is_free_to_choose(input):
        return _by_rule(operation, input, kernel, differentiable=True)
    problem = Problem(
        operation,
        _device_name(input.device),
        str(input.dtype).removeprefix("torch."),
        tuple(input.shape),
        tuple(kernel),
        tuple(padding),
        memory_format_of(input) is torch.channels_last,
    )
    choice = _choices.get(problem)
    if choice is None:
        choice = _choose(problem, input, run)
        if len(_choices) >= MOST_CHOICES:  # of inputs whose size always differs
            del _choices[next(iter(_choices))]
        _choices[problem] = choice
    return choice.backend


@functools.cache
def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _is_free_to_choose(input: Tensor) -> bool:
    """Whether any backend can run, and run more than once.

    Not on fake tensors, in a transform of ``torch.func``, or while a dispatch mode, such as torch's counter of
    operations, would see the extra runs. Nor with gradients on, in a backward that is itself differentiated, where only
    torch's own operations work.
    """
    return not torch.is_grad_enabled() and is_ordinary(input) and _dispatch_modes() == 0


def _choose(problem: Problem, input: Tensor, run: Callable[[int, str], Tensor]) -> Choice:
    named = _fixed.get(problem, _mode)
    if named in BACKENDS:
        if not BACKENDS[named].can_run(input):
            raise RuntimeError(f"the convolution {named!r} cannot run on {problem.device} in {problem.dtype}")
        return Choice(named, {}, {})
    measuring = _mode == "measured" and not torch.are_deterministic_algorithms_enabled()
    if not measuring or (input.is_cuda and torch.cuda.is_current_stream_capturing()):
        return Choice(_by_rule(problem.operation, input, problem.kernel), {}, {})
    near = problem._replace(input=tuple(map(_about, problem.input)))
    if near not in _near:
        if len(_near) >= MOST_MEASURED:
            return Choice(_by_rule(problem.operation, input, problem.kernel), {}, {})
        choice = _measured(problem, input, run)
        _near[near] = choice.backend
        return choice
    return Choice(_near[near], {}, {})


def _about(cells: int) -> int:
    """The quarter of an octave that a size lies in: batches padded to their longest sample share one, or a few."""
    return round(4 * math.log2(cells))


def _by_rule(operation: str, input: Tensor, kernel: Sequence[int], differentiable: bool = False) -> str:
    """What is fastest, or nearly, of what was measured: on CPUs with AVX2 and AVX-512, and on an NVIDIA H200.

    With `differentiable` one of those made of torch's operations.
    """
    side, is_large = max(input.shape[2:]), max(kernel[2:]) >= LARGE_KERNEL
    if input.device.type == "cpu":
        by_fft = operation == "kernel_gradient" and is_large and side >= CPU_FFT_SIDE
        return "fft" if by_fft else "torch_channels_last"
    is_triton = not differentiable and BACKENDS["triton_128"].can_run(input)
    if not is_large:
        return "torch_channels_last" if memory_format_of(input) is torch.channels_last else "torch_contiguous"
    if operation == "kernel_gradient":
        return "triton_128" if is_triton and side < GPU_FFT_SIDE and input.dtype.itemsize == 2 else "fft"
    if is_triton and input.dtype.itemsize == 2:
        return "triton_64" if side >= GPU_WIDE else "triton_128"
    if input.shape[0] * input.shape[1] < GPU_FEW or side < GPU_SMALL:
        return "torch_contiguous"
    if side >= GPU_FFT_SIDE:
        return "fft"
    return "triton_128" if is_triton else "torch_contiguous"


def _measured(problem: Problem, input: Tensor, run: Callable[[int, str], Tensor]) -> Choice:
    """Time every backend once, then, in turns, those that are not much slower.

    Once is with one sample on a CPU, and with the whole batch on a GPU, where one sample only times the launch.
    """
    # Triton on a CPU is its interpreter, which is for tests and never fast
    names = [name for name, one in BACKENDS.items() if one.can_run(input) and (input.is_cuda or one.differentiable)]
    first: dict[str, float] = {}
    best: dict[str, float] = {}
    failed: dict[str, str] = {}

    def seconds(n: int, name: str) -> float | None:
        try:
            return _seconds(input, lambda: run(n, name))
        except Exception as error:  # out of memory, no such kernel, a compiler error: many kinds
            failed[name] = " ".join(str(error).split())[:200] or type(error).__name__
            return None

    few = input.shape[0] if input.is_cuda else 1
    for name in names:
        seconds(few, name)  # compiles, plans, allocates
        if name not in failed and (once := seconds(few, name)) is not None:
            first[name] = once
    for turn in range(ROUNDS + 1):
        for name, once in first.items():
            if name in failed or once > MUCH_SLOWER * min(first.values()):
                continue
            whole = seconds(input.shape[0], name)
            if turn and whole is not None:  # the first warms up
                best[name] = min(whole, best.get(name, whole))
    best = {name: value for name, value in best.items() if name not in failed}
    if not best:  # the rule's backend then raises its own error
        return Choice(_by_rule(problem.operation, input, problem.kernel), {}, failed)
    return Choice(min(best, key=best.__getitem__), {name: 1000 * value for name, value in best.items()}, failed)


def _seconds(input: Tensor, run: Callable[[], object]) -> float:
    if input.is_cuda:
        torch.cuda.synchronize(input.device)
    started = time.perf_counter()
    run()
    if input.is_cuda:
        torch.cuda.synchronize(input.device)
    return time.perf_counter() - started


def _from_record(record: dict[str, Any]) -> tuple[Problem, str]:
    try:
        values = [record[name] for name in Problem._fields]
        problem = Problem._make(tuple(value) if isinstance(value, list) else value for value in values)
        if record["backend"] not in BACKENDS:
            raise KeyError(record["backend"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a record of convolution_choices(): {record!r}") from error
    return problem, record["backend"]
