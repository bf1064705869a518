"""One small YAML document, read so that nothing in it is lost, run, or larger than it looks."""

from __future__ import annotations

import re
import reprlib
from typing import Any

import yaml

from harness.base.errors import UserError

MOST_BYTES = 100_000  # of a document; the largest preset has 3,000
MOST_NODES = 10_000  # with every alias written out; the largest preset has 300
MERGE = "tag:yaml.org,2002:merge"
NUMBER = re.compile(  # YAML 1.1 takes 1_0 for 10, 010 for 8 and 1:30 for 90 as well
    r"[-+]?((0|[1-9]\d*)(\.\d*)?|\.\d+)([eE][-+]?\d+)?|0x[\da-fA-F]+|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", re.ASCII
)

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 120
_SHORT.maxlist = _SHORT.maxdict = 12


class Loader(yaml.SafeLoader):
    """Takes 5e-2 for a number as YAML 1.2, and so DVC, does; to YAML 1.1 it is a text, for want of a dot."""


Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"[-+]?\d+[eE][-+]?\d+$"), list("-+0123456789"))


def shown(value: Any) -> str:
    """`value` for a message: its repr, on one line, and shortened where it is long."""
    try:
        return _SHORT.repr(value)
    except ValueError:  # Python writes no whole number of more than 4300 digits
        return "a number of thousands of digits"


def dotted(key: str, name: Any) -> str:
    """The dotted name of what stands under `name` in the mapping called `key` (empty: at the top)."""
    plain = isinstance(name, str) and len(name) <= 80 and name.replace("_", "").replace("-", "").isalnum()
    return (f"{key}." if key else "") + (name if plain else shown(name))


def parse_yaml(file: str, content: bytes) -> Any:
    """The document's value: mappings, lists, texts, numbers, dates; None where it is empty. Anchors and merges work.

    Raises UserError, in one line that names the file, and the line or the key: no YAML, a key given twice or that is no
    text, a value that is not what its tag says, more than MOST_BYTES, or MOST_NODES once aliases are written out.
    """
    if len(content) > MOST_BYTES:
        raise UserError(f"{file}: has more than {MOST_BYTES} bytes; it should hold a few settings")
    try:
        loader = Loader(content)
        node = loader.get_single_node()
        if node is None:
            return None
        _check(loader, node, "", {})
        return loader.construct_document(node)
    except UserError as error:
        raise UserError(f"{file}: {error}") from error
    except RecursionError as error:
        raise UserError(f"{file}: cannot be read as YAML (nested too deeply)") from error
    except Exception as error:  # YAMLError, and whatever else PyYAML's constructors raise
        raise UserError(f"{file}: cannot be read as YAML ({_one_line(error)})") from error


def _check(loader: Loader, node: yaml.Node, key: str, sizes: dict[int, int]) -> int:
    """How many nodes `node`, called `key`, has with aliases written out; `sizes` has those known, 0 while at work."""
    if id(node) in sizes:
        if not sizes[id(node)]:
            raise UserError(f"{key}: contains itself, by an alias; write the value out")
        return sizes[id(node)]
    sizes[id(node)], size = 0, 1
    if isinstance(node, yaml.ScalarNode):
        try:
            if node.tag.endswith((":int", ":float")) and not NUMBER.fullmatch(node.value):
                raise ValueError(f"{shown(node.value)} is no number in plain digits")
            loader.construct_object(node)
        except Exception as error:  # an impossible date is a ValueError, a tagged text an AttributeError, and so on
            raise UserError(f"{key or 'params'}: cannot be read as YAML ({_one_line(error)})") from error
    elif isinstance(node, yaml.SequenceNode):
        size += sum(_check(loader, item, f"{key}[{index}]", sizes) for index, item in enumerate(node.value))
    else:
        names: set[str] = set()
        for name_node, value_node in node.value:
            name, line = name_node.value, name_node.start_mark.line + 1
            if not isinstance(name_node, yaml.ScalarNode):
                raise UserError(f"{key or 'params'}: has a list or a mapping as a key, in line {line}; must be a text")
            if name_node.tag not in (loader.DEFAULT_SCALAR_TAG, MERGE):
                raise UserError(f"{dotted(key, name)}: is no text but a key, in line {line}; write a known key")
            if name in names:
                raise UserError(f"{dotted(key, name)}: is given twice, again in line {line}; delete one of them")
            names.add(name)
            size += 1 + _check(loader, value_node, dotted(key, name), sizes)
    if size > MOST_NODES:
        raise UserError(f"{key or 'params'}: has more than {MOST_NODES} values once aliases are written out")
    sizes[id(node)] = size
    return size


def _one_line(error: Exception) -> str:
    """What went wrong, as a part of one line."""
    text = " ".join(str(error).split())
    return "".join(character for character in text if character.isprintable())[:300] or type(error).__name__
