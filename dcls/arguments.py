"""Arguments of the layers: sizes, padding, and warnings of published defaults that are traps."""

import functools
import sys
import warnings

from torch import nn

Size = int | tuple[int, ...]
CONVOLUTIONS: dict[int, type[nn.Conv1d] | type[nn.Conv2d] | type[nn.Conv3d]] = {
    1: nn.Conv1d,
    2: nn.Conv2d,
    3: nn.Conv3d,
}


def to_tuple(value: Size, dimensions: int, name: str) -> tuple[int, ...]:
    """Repeat a single number for every dimension; RuntimeError, in torch's words, for a wrong count of numbers."""
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    if len(values) not in (1, dimensions):
        raise RuntimeError(
            f"expected {name} to be a single integer value or a list of {dimensions} values to match the convolution "
            f"dimensions, but got {name}={list(values)}"
        )
    return values * dimensions if len(values) == 1 else values


def padding_per_side(padding: tuple[int, ...] | str, kernel_size: tuple[int, ...]) -> list[tuple[int, int]]:
    """Cells that padding adds before and after each axis; "same" adds the odd one after, as torch does."""
    if padding == "same":
        return [((size - 1) // 2, size // 2) for size in kernel_size]
    return [(0, 0)] * len(kernel_size) if isinstance(padding, str) else [(cells, cells) for cells in padding]


@functools.cache
def warn_once(text: str) -> None:
    """Warn of a published default that is a trap, once in a process, at the line outside this package."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals["__name__"].startswith("dcls."):
        frame, level = frame.f_back, level + 1
    warnings.warn(text, UserWarning, stacklevel=level)
