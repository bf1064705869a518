"""Turns a parsed YAML mapping into nested frozen dataclasses, or says in one line what is wrong with it."""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

from harness.base.errors import UserError
from harness.config.strict_yaml import dotted, shown

KINDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
LONGEST = 4096  # characters of a text
NO_TEXT = ("Cc", "Cs", "Zl", "Zp")  # Unicode's categories of control characters, half characters and line ends


def setting(
    doc: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] | None = None,
    may_be_empty: bool = False,
    default: Any = dataclasses.MISSING,
) -> Any:
    """A dataclass field with its doc line and the values allowed (bounds included; for lists, of each element)."""
    metadata = {"doc": doc, "minimum": minimum, "maximum": maximum, "choices": choices, "may_be_empty": may_be_empty}
    return dataclasses.field(default=default, metadata=metadata)


def build(cls: type, value: Any, key: str = "") -> Any:
    """An instance of the dataclass `cls` from a mapping; `key` is the dotted name used in messages.

    Raises UserError: unknown key (with the nearest known one), missing key, wrong type, value out of bounds.
    """
    if not isinstance(value, Mapping):
        raise UserError(f"{key or 'params'}: is {shown(value)}, must be a mapping of keys to values")
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}
    for name in value:
        if name not in fields:
            hint = nearest(name, fields) or f"; known keys: {', '.join(fields)}"
            raise UserError(f"{dotted(key, name)}: unknown key{hint}")
    arguments = {}
    for name, field in fields.items():
        if name in value:
            arguments[name] = convert(hints[name], value[name], dotted(key, name), field.metadata)
        elif field.default is dataclasses.MISSING:
            raise UserError(f"{dotted(key, name)}: missing; add it ({field.metadata.get('doc', 'required')})")
    return cls(**arguments)


def nearest(given: str, known: Iterable[str]) -> str:
    """`; did you mean 'batch'?`, or nothing where none of `known` is like what was given."""
    near = difflib.get_close_matches(given[:80], known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def convert(hint: Any, value: Any, key: str, rules: Mapping[str, Any]) -> Any:
    """`value` as the type `hint` says, checked against the field's rules."""
    if dataclasses.is_dataclass(hint):
        return build(typing.cast(type, hint), value, key)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):  # only `X | None` is used
        inner = next(argument for argument in arguments if argument is not type(None))
        return None if value is None else convert(inner, value, key, rules)
    if origin is dict:
        if not isinstance(value, Mapping):
            raise UserError(f"{key}: is {shown(value)}, must be a mapping of keys to values")
        return {name: convert(arguments[1], item, dotted(key, name), rules) for name, item in value.items()}
    if origin is tuple:
        if not isinstance(value, list) or not (value or rules.get("may_be_empty")):
            wanted = "a list" if rules.get("may_be_empty") else "a list with at least one value"
            raise UserError(f"{key}: is {shown(value)}, must be {wanted}")
        return tuple(convert(arguments[0], item, f"{key}[{index}]", rules) for index, item in enumerate(value))
    return _scalar(hint, value, key, rules)


def _number(value: Any) -> Any:
    """A float where `value` is a number; YAML 1.1 reads 4e-3 (no dot) as a text, which nobody means."""
    try:
        return float(value) if isinstance(value, int | str) else value
    except (ValueError, OverflowError):
        return value


def _scalar(hint: type, value: Any, key: str, rules: Mapping[str, Any]) -> Any:
    if hint is float and not isinstance(value, bool):
        value = _number(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise UserError(f"{key}: is {shown(value)}, must be {KINDS[hint]}")
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{key}: is {shown(value)}, must be finite")
    low, high, choices = rules.get("minimum"), rules.get("maximum"), rules.get("choices")
    if low is not None and typing.cast(float, value) < low:
        raise UserError(f"{key}: is {shown(value)}, must be at least {low}")
    if high is not None and typing.cast(float, value) > high:
        raise UserError(f"{key}: is {shown(value)}, must be at most {high}")
    if choices is not None and value not in choices:
        raise UserError(f"{key}: is {shown(value)}, must be one of {', '.join(choices)}{nearest(str(value), choices)}")
    if isinstance(value, str) and not _is_line(value):
        raise UserError(f"{key}: is {shown(value)}, must be one line of 1 to {LONGEST} characters")
    return value


def _is_line(text: str) -> bool:
    odd = any(unicodedata.category(character) in NO_TEXT for character in text)
    return bool(text.strip()) and len(text) <= LONGEST and not odd
