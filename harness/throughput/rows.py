"""The rows of results/throughput/DEVICE.csv: their columns, and how a new row takes the place of an old one.

Imports neither NumPy nor PyTorch, since reports read the rows too.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from harness.base.errors import UserError
from harness.base.files import write_csv, write_text
from harness.config.systems import Model
from harness.throughput.condition import TORCH, Condition

CONDITION = tuple(field.name for field in fields(Condition))
ARCHITECTURE = ("backbone", "convolution")
KEY = (*ARCHITECTURE, *CONDITION)
INTERVAL = ("", "_low", "_high")
MADE_BY = (
    *("processor", "threads", "gpu", "driver", "torch", "timm", "python", "cuda", "triton"),
    *("revision", "dirty", "date"),
)
COLUMNS = (
    *KEY,
    "positions",
    "status",
    *(f"throughput{end}" for end in INTERVAL),
    "seconds",
    "rounds",
    "baseline",
    *(f"ratio_to_baseline{end}" for end in INTERVAL),
    "no_difference_below",
    *("latency_p50_ms", "latency_p95_ms", "latency_p99_ms"),
    "peak_memory_mib",
    *("parameters_527", "parameters_1000", "macs", "macs_dense_kernels"),
    "joules_per_clip",
    "fusion",
    "convolutions",
    *MADE_BY,
)
BREAKDOWN_KEY = (*ARCHITECTURE, "device", "mode", "precision", "batch", "part")
BREAKDOWN = (*BREAKDOWN_KEY, "milliseconds", "share", "revision", "dirty", "date")
ADDED = {"baseline_depthwise": TORCH}  # columns that older files lack, and what held of their rows
OK, OUT_OF_MEMORY = "ok", "out of memory"  # or `failed: REASON`

Row = Mapping[str, Any]


def key_cells(model: Model, condition: Condition) -> dict[str, str]:
    """The cells by which a row is known: what a system is called, or was trained with, changes no speed."""
    known = {**{name: getattr(model, name) for name in ARCHITECTURE}, **asdict(condition)}
    return {name: text(value) for name, value in known.items()}


def text(value: Any) -> str:
    """A cell: empty for None, yes and no for booleans, numbers in full."""
    return {None: "", True: "yes", False: "no"}[value] if value is None or isinstance(value, bool) else str(value)


def read(path: Path, columns: Sequence[str] = COLUMNS) -> list[dict[str, str]]:
    """The rows of a file; none where there is no file. Raises UserError where it has other columns."""
    try:
        content = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path}: cannot be read ({error}); restore it from Git, or delete it and measure again"
        ) from error
    return parse(str(path), content, columns)


def parse(name: str, content: str, columns: Sequence[str] = COLUMNS) -> list[dict[str, str]]:
    """The rows of a file's content. Raises UserError, with the name of the file, where it has other columns."""
    reader = csv.DictReader(io.StringIO(content))
    given = tuple(reader.fieldnames or ())
    added = {column: value for column, value in ADDED.items() if column in columns and column not in given}
    if given != tuple(column for column in columns if column not in added):
        other = next((one for one in (*columns, *given) if one not in given or one not in columns), "their order")
        raise UserError(f"{name}: not the columns of this version ({other}); delete it and run `harness throughput`")
    rows = [dict(row) for row in reader]
    for line, row in enumerate(rows, 2):
        if None in row or None in row.values():
            raise UserError(f"{name}: line {line} has not {len(given)} cells; restore it from Git")
    return [{**added, **row} for row in rows]


def upsert(path: Path, new: Iterable[Row], key: Sequence[str] = KEY, columns: Sequence[str] = COLUMNS) -> None:
    """Write rows into a file: each in place of the one with the same `key` cells, or at the end; all others stay."""
    kept = {_key(row, key): row for row in read(path, columns)}
    for row in new:
        cells = {name: text(row[name]) for name in columns}
        kept[_key(cells, key)] = cells
    write_csv(path, columns, kept.values())


def upsert_choices(path: Path, new: Iterable[dict[str, Any]]) -> None:
    """The same of the JSON records of convolution choices, one a line, known by the key cells of their row."""
    kept = {_key(one, KEY): one for one in read_choices(path)}
    kept |= {_key(one, KEY): one for one in new}
    write_text(path, "[\n" + ",\n".join(json.dumps(one) for one in kept.values()) + "\n]\n")


def read_choices(path: Path) -> list[dict[str, Any]]:
    """Records of the convolutions chosen, by row; none where there is no file. Raises UserError where it is damaged."""
    try:
        found = [{**ADDED, **one} for one in json.loads(path.read_text())]
        return [one for one in found if _key(one, KEY)]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: no list of convolution choices ({error}); restore it from Git, or delete it"
        ) from error


def _key(row: Row, key: Sequence[str]) -> tuple[str, ...]:
    return tuple(row[name] for name in key)
