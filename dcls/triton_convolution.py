"""Depthwise convolution of stride 1 as an implicit matrix product, in Triton, for the tensor cores of a GPU.

For one channel and one row of the kernel, ``output[r, w] = sum_x input[r', x] T[x, w]``: r runs over the output rows of
all samples, r' is the input row that the kernel's row aligns with it, and ``T[x, w] = kernel[x - w + padding]`` is a
banded matrix that is read straight from the kernel. Cells outside the map never enter, so on a map smaller than the
kernel little work is wasted. The gradient of the kernel is the transposed product, ``S[w, x] = sum_r grad[r, w]
input[r', x]``, added up along its diagonals; nothing is added atomically, so each result has the same bits every time.
Sums are float32. (A band as an operand of a matrix product is the idea of RepLKNet's implicit GEMM, arXiv 2203.06717.)
"""

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

COLUMNS = 32  # output columns that a program computes, fewer on narrow maps
DEPTH = 16  # input columns in one step of the product


@triton.jit
def _convolve(
    input,
    kernel,
    bias,
    output,
    rows,
    channels,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    OUT_HEIGHT: tl.constexpr,
    OUT_WIDTH: tl.constexpr,
    KERNEL_HEIGHT: tl.constexpr,
    KERNEL_WIDTH: tl.constexpr,
    PAD_HEIGHT: tl.constexpr,
    PAD_WIDTH: tl.constexpr,
    FIRST: tl.constexpr,
    END: tl.constexpr,
    STEPS: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    DEPTH: tl.constexpr,
    BIASED: tl.constexpr,
    PRECISION: tl.constexpr,
    WIDEN: tl.constexpr,
):
    channel = tl.program_id(1)
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    sample, line = row // OUT_HEIGHT, row % OUT_HEIGHT
    plane = sample.to(tl.int64) * channels + channel
    left = tl.program_id(2) * COLUMNS
    column = left + tl.arange(0, COLUMNS)
    start = tl.maximum(left - PAD_WIDTH, 0)
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    for kernel_row in range(FIRST, END):
        from_line = line + (kernel_row - PAD_HEIGHT)
        inside = (row < rows) & (from_line >= 0) & (from_line < HEIGHT)
        for step in range(STEPS):
            cell = start + step * DEPTH + tl.arange(0, DEPTH)
            part = tl.load(
                input + (plane * (HEIGHT * WIDTH) + from_line * WIDTH)[:, None] + cell[None, :],
                mask=inside[:, None] & (cell < WIDTH)[None, :],
                other=0.0,
            )
            shift = cell[:, None] - column[None, :] + PAD_WIDTH
            band = tl.load(
                kernel + channel * (KERNEL_HEIGHT * KERNEL_WIDTH) + kernel_row * KERNEL_WIDTH + shift,
                mask=(shift >= 0) & (shift < KERNEL_WIDTH),
                other=0.0,
            )
            if WIDEN:
                part, band = part.to(tl.float32), band.to(tl.float32)
            total = tl.dot(part, band, total, input_precision=PRECISION)
    if BIASED:
        total += tl.load(bias + channel).to(tl.float32)
    tl.store(
        output + (plane * (OUT_HEIGHT * OUT_WIDTH) + line * OUT_WIDTH)[:, None] + column[None, :],
        total.to(output.dtype.element_ty),
        mask=(row < rows)[:, None] & (column < OUT_WIDTH)[None, :],
    )


@triton.jit
def _correlate(
    input,
    grad,
    result,
    rows,
    channels,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    OUT_HEIGHT: tl.constexpr,
    OUT_WIDTH: tl.constexpr,
    KERNEL_HEIGHT: tl.constexpr,
    KERNEL_WIDTH: tl.constexpr,
    PAD_HEIGHT: tl.constexpr,
    PAD_WIDTH: tl.constexpr,
    TILES: tl.constexpr,
    STEPS: tl.constexpr,
    BLOCKS: tl.constexpr,
    SHIFTS: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    DEPTH: tl.constexpr,
    PRECISION: tl.constexpr,
    WIDEN: tl.constexpr,
):
    kernel_row = tl.program_id(0)
    channel = tl.program_id(1)
    shifts = tl.arange(0, SHIFTS)
    sums = tl.zeros((SHIFTS,), tl.float32)
    for tile in range(TILES):
        left = tile * COLUMNS
        column = left + tl.arange(0, COLUMNS)
        start = tl.maximum(left - PAD_WIDTH, 0)
        for step in range(STEPS):
            cell = start + step * DEPTH + tl.arange(0, DEPTH)
            products = tl.zeros((COLUMNS, DEPTH), tl.float32)
            for block in range(BLOCKS):
                row = block * ROWS + tl.arange(0, ROWS)
                sample, line = row // OUT_HEIGHT, row % OUT_HEIGHT
                plane = sample.to(tl.int64) * channels + channel
                from_line = line + (kernel_row - PAD_HEIGHT)
                inside = (row < rows) & (from_line >= 0) & (from_line < HEIGHT)
                by_output = tl.load(
                    grad + (plane * (OUT_HEIGHT * OUT_WIDTH) + line * OUT_WIDTH)[None, :] + column[:, None],
                    mask=inside[None, :] & (column < OUT_WIDTH)[:, None],
                    other=0.0,
                )
                part = tl.load(
                    input + (plane * (HEIGHT * WIDTH) + from_line * WIDTH)[:, None] + cell[None, :],
                    mask=inside[:, None] & (cell < WIDTH)[None, :],
                    other=0.0,
                )
                if WIDEN:
                    by_output, part = by_output.to(tl.float32), part.to(tl.float32)
                products = tl.dot(by_output, part, products, input_precision=PRECISION)
            diagonal = cell[None, :] - column[:, None] + PAD_WIDTH
            for shift in range(KERNEL_WIDTH):
                one = tl.sum(tl.sum(tl.where(diagonal == shift, products, 0.0), axis=1), axis=0)
                sums += tl.where(shifts == shift, one, 0.0)
    tl.store(
        result + (channel * KERNEL_HEIGHT + kernel_row) * KERNEL_WIDTH + shifts,
        sums,
        mask=shifts < KERNEL_WIDTH,
    )


def convolve(input: Tensor, kernel: Tensor, bias: Tensor | None, padding: Sequence[int], rows: int) -> Tensor:
    """Depthwise convolution, contiguous (N, C, *outputs), in the dtype of input; a program computes ``rows`` rows.

    input (N, C, H, W), kernel (C, 1, *size) and bias (C,) are float32, float16 or bfloat16, on CUDA, in any memory
    format.
    """
    input, kernel = input.contiguous(), kernel.contiguous()
    (n, c, height, width), size = input.shape, kernel.shape[2:]
    outputs = [cells + 2 * p - s + 1 for cells, p, s in zip((height, width), padding, size, strict=True)]
    output = input.new_empty(n, c, *outputs)
    columns = _columns(outputs[1])
    grid = (triton.cdiv(n * outputs[0], rows), c, triton.cdiv(outputs[1], columns))
    _convolve[grid](
        input,
        kernel,
        output if bias is None else bias,
        output,
        n * outputs[0],
        c,
        height,
        width,
        *outputs,
        *size,
        *padding,
        # rows of the kernel that meet the map at all
        FIRST=max(0, padding[0] - outputs[0] + 1),
        END=min(size[0], padding[0] + height),
        STEPS=triton.cdiv(min(width, columns + size[1] - 1), DEPTH),
        ROWS=rows,
        COLUMNS=columns,
        DEPTH=DEPTH,
        BIASED=bias is not None,
        PRECISION=_precision(input),
        WIDEN=_widen(input),
    )
    return output


def correlate(input: Tensor, grad: Tensor, size: Sequence[int], padding: Sequence[int], rows: int) -> Tensor:
    """Gradient of the kernel, (C, 1, *size) in the dtype of grad, from input and output gradient; see ``convolve``."""
    input, grad = input.contiguous(), grad.contiguous()
    (n, c, height, width), outputs = input.shape, grad.shape[2:]
    result = torch.empty(c, 1, *size, device=input.device, dtype=torch.float32)
    columns = _columns(outputs[1])
    _correlate[(size[0], c)](
        input,
        grad,
        result,
        n * outputs[0],
        c,
        height,
        width,
        *outputs,
        *size,
        *padding,
        TILES=triton.cdiv(outputs[1], columns),
        STEPS=triton.cdiv(min(width, columns + size[1] - 1), DEPTH),
        BLOCKS=triton.cdiv(n * outputs[0], rows),
        SHIFTS=triton.next_power_of_2(size[1]),
        ROWS=rows,
        COLUMNS=columns,
        DEPTH=DEPTH,
        PRECISION=_precision(input),
        WIDEN=_widen(input),
    )
    return result.to(grad.dtype)


def _precision(input: Tensor) -> str:
    """How float32 factors are multiplied: as torch is set to do in its matrix products, which is exactly by default.

    For its convolutions it allows tf32 by default, but cuDNN's depthwise ones make no use of it.
    """
    return "tf32" if input.is_cuda and torch.backends.cuda.matmul.allow_tf32 else "ieee"


def _widen(input: Tensor) -> bool:
    """Triton's interpreter, which runs on a CPU, multiplies bfloat16 wrongly: there factors become float32 first."""
    return input.device.type == "cpu" and input.dtype == torch.bfloat16


def _columns(width: int) -> int:
    return min(COLUMNS, max(16, triton.next_power_of_2(width)))
