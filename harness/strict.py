"""Turns a parsed YAML mapping into nested frozen dataclasses, or says in one line what is wrong with it."""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Mapping
from typing import Any

from harness.errors import UserError


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
        raise UserError(f"{key or 'params'}: is {value!r}, must be a mapping of keys to values")
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}
    prefix = f"{key}." if key else ""
    for name in value:
        if name not in fields:
            near = difflib.get_close_matches(str(name), fields, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(fields)}"
            raise UserError(f"{prefix}{name}: unknown key; {hint}")
    arguments = {}
    for name, field in fields.items():
        if name in value:
            arguments[name] = convert(hints[name], value[name], f"{prefix}{name}", field.metadata)
        elif field.default is dataclasses.MISSING:
            raise UserError(f"{prefix}{name}: missing; add it ({field.metadata.get('doc', 'required')})")
    return cls(**arguments)


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
            raise UserError(f"{key}: is {value!r}, must be a mapping of keys to values")
        return {str(name): convert(arguments[1], item, f"{key}.{name}", rules) for name, item in value.items()}
    if origin is tuple:
        if not isinstance(value, list) or not (value or rules.get("may_be_empty")):
            wanted = "a list" if rules.get("may_be_empty") else "a list with at least one value"
            raise UserError(f"{key}: is {value!r}, must be {wanted}")
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
        names = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
        raise UserError(f"{key}: is {value!r}, must be {names[hint]}")
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{key}: is {value!r}, must be finite")
    low, high, choices = rules.get("minimum"), rules.get("maximum"), rules.get("choices")
    if low is not None and typing.cast(float, value) < low:
        raise UserError(f"{key}: is {value!r}, must be at least {low}")
    if high is not None and typing.cast(float, value) > high:
        raise UserError(f"{key}: is {value!r}, must be at most {high}")
    if choices is not None and value not in choices:
        near = difflib.get_close_matches(str(value), choices, n=1)
        hint_text = f"; did you mean {near[0]!r}?" if near else ""
        raise UserError(f"{key}: is {value!r}, must be one of {', '.join(choices)}{hint_text}")
    return value
