"""Prints docs/parameters.md, every key of params.yaml in one table: `python -m harness.config.parameter_table`."""

from __future__ import annotations

import json
from collections import namedtuple
from collections.abc import Iterator
from typing import Any

from harness.config.params import Params
from harness.config.section import LONGEST

TOP = f"""# Every key of params.yaml

Written by `make docs` from `harness/config/params.py`; do not edit. An unknown key, a key given twice, a missing key
without a default, or a value of another type or out of its range stops every command with one line that names the file
and the key. A text is one line of 1 to {LONGEST} characters. `MODEL` is one of the names in `models`. Keys that have to
agree with each other are checked too, and the message says what is needed.

| key | type | allowed | default | meaning |
| --- | --- | --- | --- | --- |
"""
TYPES = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true or false"}


Key = namedtuple("Key", ["name", "kind", "allowed", "default", "meaning"])  # a row: all are texts


def keys() -> list[Key]:
    """Every key of params.yaml, those of a section below it."""
    schema = Params.model_json_schema()
    return list(_keys(schema, schema["$defs"], ""))


def _keys(section: dict[str, Any], sections: dict[str, Any], above: str) -> Iterator[Key]:
    for name, field in section["properties"].items():
        value, *null = field.get("anyOf", [field])
        *text, value = value.get("oneOf", [value])  # a text, or a mapping in its place
        many, items = value.get("additionalProperties"), value.get("items", value)
        inner = (many or value).get("$ref", "").rpartition("/")[2]
        if text:
            kind, allowed = "text or mapping", "any, or the keys below"
        elif inner:
            kind, allowed = "one mapping for each MODEL" if many else "mapping", "the keys below"
        else:
            kind, allowed = TYPES[items["type"]], _allowed(items)
        if "items" in value:
            kind, allowed = f"list of {kind}s", allowed + ("; at least one" if value.get("minItems") else "")
        yield Key(above + name, kind, allowed + (", or null" if null else ""), _default(field), field["description"])
        if inner:
            yield from _keys(sections[inner], sections, f"{above}{name}.MODEL." if many else f"{above}{name}.")


def _allowed(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(f"`{choice}`" for choice in schema["enum"])
    if "minimum" in schema:
        style = "," if schema["type"] == "integer" else "g"
        return f"{schema['minimum']:{style}} to {schema['maximum']:{style}}"
    return "`true`, `false`" if schema["type"] == "boolean" else "any"


def _default(field: dict[str, Any]) -> str:
    if "default" not in field:
        return "required"
    value = field["default"]
    if isinstance(value, dict):
        return "those of its keys"
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


def table() -> str:
    """The whole page, in Markdown."""
    return TOP + "".join(f"| `{name}` | {' | '.join(rest)} |\n" for name, *rest in keys())


if __name__ == "__main__":
    print(table(), end="")
