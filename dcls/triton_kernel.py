"""The dense kernel of two-dimensional DCLS layers, and its gradients, each in one fused step, in Triton for CUDA.

One program computes the kernel of one channel: heights of the elements along both axes, the normaliser, and the sum
over elements, a small matrix product. No intermediate tensor goes through the GPU's memory. The formulas are those of
``dcls.dense_kernel`` (arXiv 2306.00817, section 2; 2112.03740, section 2).
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from .elements import EPSILON, MIN_SPREAD, NEGLIGIBLE, axis_of

SMALLEST = 16  # sides of a matrix product in Triton are at least this


@triton.jit
def _heights(
    P,
    SIG,
    offset,
    CENTRE: tl.constexpr,
    SIDE: tl.constexpr,
    COUNT: tl.constexpr,
    CELLS: tl.constexpr,
    ELEMENTS: tl.constexpr,
    VERSION: tl.constexpr,
    MIN_SPREAD: tl.constexpr,
    NEGLIGIBLE: tl.constexpr,
):
    """Heights (CELLS, ELEMENTS) along one axis, and their derivatives by position and spread."""
    cell, element = tl.arange(0, CELLS), tl.arange(0, ELEMENTS)
    here = element < COUNT
    inside = (cell < SIDE)[:, None] & here[None, :]
    position = tl.load(P + offset + element, mask=here, other=0.0)[None, :] + CENTRE
    distance = cell.to(tl.float32)[:, None] - position
    spread = tl.zeros((1, ELEMENTS), tl.float32)
    if VERSION == "gauss" or VERSION == "max":
        spread = tl.load(SIG + offset + element, mask=here, other=0.0)[None, :]
    sign = tl.where(spread > 0, 1.0, tl.where(spread < 0, -1.0, 0.0))
    if VERSION == "gauss":
        deviation = MIN_SPREAD + tl.abs(spread)
        scaled = distance / deviation
        height = tl.exp(-0.5 * scaled * scaled)
        height = tl.where(inside & (height > NEGLIGIBLE), height, 0.0)
        by_position = height * scaled / deviation
        by_spread = by_position * scaled * sign
    elif VERSION == "v0":
        lower = tl.floor(position)
        at_lower = inside & (cell.to(tl.float32)[:, None] == lower)
        at_upper = inside & (cell.to(tl.float32)[:, None] == lower + 1)
        right = position - lower
        height = tl.where(at_lower, 1 - right, 0.0) + tl.where(at_upper, right, 0.0)
        by_position = tl.where(at_upper, 1.0, 0.0) - tl.where(at_lower, 1.0, 0.0)
        by_spread = tl.zeros((CELLS, ELEMENTS), tl.float32)
    else:
        height = 1 + tl.abs(spread) - tl.abs(distance)
        touched = inside & (height > 0)
        height = tl.where(touched, height, 0.0)
        by_position = tl.where(touched & (distance > 0), 1.0, 0.0) - tl.where(touched & (distance < 0), 1.0, 0.0)
        by_spread = tl.where(touched, sign, 0.0)
    return height, by_position, by_spread


@triton.jit
def _forward(
    weight,
    P0,
    P1,
    SIG0,
    SIG1,
    kernel,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    CENTRE0: tl.constexpr,
    CENTRE1: tl.constexpr,
    COUNT: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    ELEMENTS: tl.constexpr,
    VERSION: tl.constexpr,
    EPSILON: tl.constexpr,
    MIN_SPREAD: tl.constexpr,
    NEGLIGIBLE: tl.constexpr,
):
    channel = tl.program_id(0).to(tl.int64)
    offset = channel * COUNT
    down, _, _ = _heights(P0, SIG0, offset, CENTRE0, HEIGHT, COUNT, ROWS, ELEMENTS, VERSION, MIN_SPREAD, NEGLIGIBLE)
    across, _, _ = _heights(P1, SIG1, offset, CENTRE1, WIDTH, COUNT, COLUMNS, ELEMENTS, VERSION, MIN_SPREAD, NEGLIGIBLE)
    element = tl.arange(0, ELEMENTS)
    scaled = tl.load(weight + offset + element, mask=element < COUNT, other=0.0)
    if VERSION != "v0":
        scaled = scaled / (tl.sum(down, axis=0) * tl.sum(across, axis=0) + EPSILON)
    cells = tl.dot(down, tl.trans(across * scaled[None, :]), input_precision="ieee")
    row, column = tl.arange(0, ROWS), tl.arange(0, COLUMNS)
    tl.store(
        kernel + channel * (HEIGHT * WIDTH) + row[:, None] * WIDTH + column[None, :],
        cells,
        mask=(row < HEIGHT)[:, None] & (column < WIDTH)[None, :],
    )


@triton.jit
def _backward(
    grad,
    weight,
    P0,
    P1,
    SIG0,
    SIG1,
    by_weight,
    by_P0,
    by_P1,
    by_SIG0,
    by_SIG1,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    CENTRE0: tl.constexpr,
    CENTRE1: tl.constexpr,
    COUNT: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    ELEMENTS: tl.constexpr,
    VERSION: tl.constexpr,
    EPSILON: tl.constexpr,
    MIN_SPREAD: tl.constexpr,
    NEGLIGIBLE: tl.constexpr,
):
    channel = tl.program_id(0).to(tl.int64)
    offset = channel * COUNT
    down, down_p, down_s = _heights(
        P0, SIG0, offset, CENTRE0, HEIGHT, COUNT, ROWS, ELEMENTS, VERSION, MIN_SPREAD, NEGLIGIBLE
    )
    across, across_p, across_s = _heights(
        P1, SIG1, offset, CENTRE1, WIDTH, COUNT, COLUMNS, ELEMENTS, VERSION, MIN_SPREAD, NEGLIGIBLE
    )
    row, column, element = tl.arange(0, ROWS), tl.arange(0, COLUMNS), tl.arange(0, ELEMENTS)
    here = element < COUNT
    by_cell = tl.load(
        grad + channel * (HEIGHT * WIDTH) + row[:, None] * WIDTH + column[None, :],
        mask=(row < HEIGHT)[:, None] & (column < WIDTH)[None, :],
        other=0.0,
    )
    flat = tl.load(weight + offset + element, mask=here, other=0.0)
    sum_down, sum_across = tl.sum(down, axis=0), tl.sum(across, axis=0)
    norm = tl.full((ELEMENTS,), 1.0, tl.float32)
    if VERSION != "v0":
        norm = sum_down * sum_across + EPSILON
    scaled = flat / norm
    along_down = tl.dot(by_cell, across, input_precision="ieee")
    along_across = tl.dot(tl.trans(by_cell), down, input_precision="ieee")
    by_scaled = tl.sum(along_down * down, axis=0)
    by_sum = tl.zeros((ELEMENTS,), tl.float32)
    if VERSION != "v0":
        by_sum = -by_scaled * scaled / norm
    tl.store(by_weight + offset + element, by_scaled / norm, mask=here)
    to_down, to_across = by_sum * sum_across, by_sum * sum_down
    by_down = scaled * tl.sum(along_down * down_p, axis=0) + to_down * tl.sum(down_p, axis=0)
    by_across = scaled * tl.sum(along_across * across_p, axis=0) + to_across * tl.sum(across_p, axis=0)
    tl.store(by_P0 + offset + element, by_down, mask=here)
    tl.store(by_P1 + offset + element, by_across, mask=here)
    if VERSION == "gauss" or VERSION == "max":
        by_down = scaled * tl.sum(along_down * down_s, axis=0) + to_down * tl.sum(down_s, axis=0)
        by_across = scaled * tl.sum(along_across * across_s, axis=0) + to_across * tl.sum(across_s, axis=0)
        tl.store(by_SIG0 + offset + element, by_down, mask=here)
        tl.store(by_SIG1 + offset + element, by_across, mask=here)


def dense(weight: Tensor, P: Tensor, SIG: Tensor | None, size: tuple[int, ...], version: str) -> Tensor:
    """``dcls.dense_kernel`` of float32 tensors and two axes: (*leading, *size)."""
    weight, P, SIG = weight.contiguous(), P.contiguous(), None if SIG is None else SIG.contiguous()
    kernel = weight.new_empty(*weight.shape[:-1], *size)
    pairs = _by_axis(P, SIG, weight, version)
    _forward[(weight.numel() // weight.shape[-1],)](weight, *pairs, kernel, **_constants(weight, size, version))
    return kernel


def gradients(
    grad: Tensor, weight: Tensor, P: Tensor, SIG: Tensor | None, size: tuple[int, ...], version: str
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Gradients by weight, P and SIG, from that by the dense kernel, (*leading, *size)."""
    grad, weight, P = grad.contiguous(), weight.contiguous(), P.contiguous()
    SIG = None if SIG is None else SIG.contiguous()
    by_weight, by_P, by_SIG = torch.empty_like(weight), torch.empty_like(P), torch.empty_like(P)
    before, after = _by_axis(P, SIG, weight, version), _by_axis(by_P, by_SIG, weight, version)
    _backward[(weight.numel() // weight.shape[-1],)](
        grad, weight, *before, by_weight, *after, **_constants(weight, size, version)
    )
    return by_weight, by_P, None if SIG is None else by_SIG


def _by_axis(P: Tensor, SIG: Tensor | None, weight: Tensor, version: str) -> tuple[Tensor, ...]:
    """P of kernel axes 0 and 1, then SIG; without SIG the weight stands in, and is not read."""
    first, second = (axis_of(version, 2).index(axis) for axis in (0, 1))
    return (P[first], P[second], *((weight, weight) if SIG is None else (SIG[first], SIG[second])))


def _constants(weight: Tensor, size: tuple[int, ...], version: str) -> dict[str, object]:
    first, second = (axis_of(version, 2).index(axis) for axis in (0, 1))
    sides = [max(SMALLEST, triton.next_power_of_2(side)) for side in (*size, weight.shape[-1])]
    return {
        "HEIGHT": size[0],
        "WIDTH": size[1],
        "CENTRE0": size[first] // 2,  # from the size at the index of P, not from that of the axis
        "CENTRE1": size[second] // 2,
        "COUNT": weight.shape[-1],
        "ROWS": sides[0],
        "COLUMNS": sides[1],
        "ELEMENTS": sides[2],
        "VERSION": version,
        "EPSILON": EPSILON,
        "MIN_SPREAD": MIN_SPREAD,
        "NEGLIGIBLE": NEGLIGIBLE[torch.float32],
    }
