"""Prints docs/parameters.md, every key of params.yaml in one table: `python -m harness.config.parameter_table`."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from harness.config.params import Params
from harness.config.strict import LONGEST

TOP = f"""# Every key of params.yaml

Written by `make docs` from `harness/config/params.py`; do not edit. An unknown key, a key given twice, a missing key
without a default, a value of another type or out of its range stops every command with one line that names file and key. A text
is one line of 1 to {LONGEST} characters. `MODEL` is one of the names in `models`. What keys must fit each other is
checked too, and the message says what is needed.
"""
TYPES = {int: "whole number", float: "number", str: "text", bool: "true or false"}


@dataclasses.dataclass(frozen=True)
class Key:
    """A row: the dotted key, the kind of its value, which are allowed, which it is where left out, what it means."""

    name: str
    kind: str
    allowed: str
    default: str
    meaning: str


def keys(cls: type = Params, above: str = "") -> Iterator[Key]:
    """Every key of the dataclass `cls` and of those inside it, in their order; `above` stands before each name."""
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        name, inner = f"{above}{field.name}", [hints[field.name], *typing.get_args(hints[field.name])]
        section = next((hint for hint in inner if dataclasses.is_dataclass(hint)), None)
        many = typing.get_origin(hints[field.name]) is dict
        if section is None:
            kind, allowed = _kind(hints[field.name]), _allowed(hints[field.name], field.metadata)
        else:
            kind, allowed = "one mapping for each MODEL" if many else "mapping", "the keys below"
        if type(None) in inner:
            allowed += ", or null"
        yield Key(name, kind, allowed, _default(field.default), field.metadata["doc"])
        if section is not None:
            yield from keys(typing.cast(type, section), f"{name}.MODEL." if many else f"{name}.")


def table() -> str:
    """The whole page, in Markdown."""
    rows = [[f"`{key.name}`", key.kind, key.allowed, key.default, key.meaning] for key in keys()]
    cells = [["key", "type", "allowed", "default", "meaning"], ["---"] * 5, *rows]
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in cells]
    return TOP + "\n" + "\n".join(lines) + "\n"


def _kind(hint: Any) -> str:
    origin, inside = typing.get_origin(hint), [each for each in typing.get_args(hint) if each is not type(None)]
    if origin is tuple:
        return f"list of {_kind(inside[0])}s"
    return _kind(inside[0]) if origin in (typing.Union, types.UnionType) else TYPES[hint]


def _allowed(hint: Any, rules: Mapping[str, Any]) -> str:
    if rules["choices"]:
        values = ", ".join(f"`{choice}`" for choice in rules["choices"])
    elif rules["minimum"] is not None or rules["maximum"] is not None:
        values = f"{_number(rules['minimum'])} to {_number(rules['maximum'])}"
    else:
        values = "`true`, `false`" if hint is bool else "any"
    if typing.get_origin(hint) is tuple and not rules["may_be_empty"]:
        values += "; at least one"
    return values


def _number(bound: float | None) -> str:
    return "any" if bound is None else f"{bound:,}" if isinstance(bound, int) else f"{bound:g}"


def _default(value: Any) -> str:
    if value is dataclasses.MISSING:
        return "required"
    if dataclasses.is_dataclass(value):
        return "those of its keys"
    words = {None: "null", True: "true", False: "false"}
    return f"`{words[value] if value is None or isinstance(value, bool) else value}`"


if __name__ == "__main__":
    print(table(), end="")
