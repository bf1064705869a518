"""The one line that says what is wrong in a parameter file: key, value and what is allowed."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from harness.config.strict_yaml import dotted, shown

MUST = {  # by pydantic's `type`
    **dict.fromkeys(("model_type", "dict_type"), "be a mapping of keys to values"),
    "tuple_type": "be a list",
    "too_short": "be a list with at least one value",
    "int_type": "be a whole number",
    "float_type": "be a number",
    "string_type": "be a text",
    "bool_type": "be true or false",
    "finite_number": "be finite",
    "greater_than_equal": "be at least {ge}",
    "less_than_equal": "be at most {le}",
    "value_error": "{error}",
}


MARKS = ("[key]", "[text]", "[lists]")  # how pydantic marks a name, and params.py the form of a value


class BrokenRule(ValueError):
    """One value breaks a rule of ours, whose text follows `must`; any other ValueError is of values together."""


def first_error(error: ValidationError, section: type[BaseModel]) -> str:
    """The first error; before all others a key that is unknown, as the one that was meant is then missing too."""
    errors = error.errors(include_url=False)
    one = next((one for one in errors if one["type"] == "extra_forbidden"), errors[0])
    kind, value, context, key = one["type"], one["input"], one.get("ctx", {}), ""
    for name in (name for name in one["loc"] if name not in MARKS):
        key = f"{key}[{name}]" if isinstance(name, int) else dotted(key, name)
    if kind == "value_error" and not isinstance(context["error"], BrokenRule):
        return f"{key}.{context['error']}" if key else str(context["error"])
    if kind in ("missing", "extra_forbidden"):
        *above, name = one["loc"]
        for each in above:
            if each in section.model_fields:  # else it is the name of one of several mappings
                section = _model_in(section.model_fields[str(each)].annotation)
        if kind == "missing":
            return f"{key}: missing; add it ({section.model_fields[str(name)].description})"
        hint = nearest(str(name), section.model_fields) or f"; known keys: {', '.join(section.model_fields)}"
        return f"{key}: unknown key{hint}"
    if kind == "literal_error":
        choices = re.findall("'(.+?)'", context["expected"])
        must = f"be one of {', '.join(choices)}{nearest(str(value), choices)}"
    else:
        must = MUST[kind].format(**context)
    return f"{key or 'params'}: is {shown(list(value) if isinstance(value, tuple) else value)}, must {must}"


def _model_in(hint: object) -> Any:
    """The section that a key holds, be it one of several types."""
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        return hint
    return next((found for found in map(_model_in, get_args(hint)) if found), None)


def nearest(given: str, known: Iterable[str]) -> str:
    """`; did you mean 'batch'?`, or nothing where none of `known` is like what was given."""
    near = difflib.get_close_matches(given[:80], known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
