"""docs/parameters.md: every key has a type, a range and a line, and the committed table is the one of this code."""

from __future__ import annotations

import pytest
import yaml

from harness.config.parameter_table import Key, keys, table
from tests.conftest import ROOT
from tests.test_parameters import paths


@pytest.mark.parametrize("key", list(keys()), ids=lambda key: key.name)
def test_every_key_has_a_type_a_range_and_a_line(key: Key) -> None:
    assert key.kind and key.allowed and key.default and "\n" not in key.meaning
    assert key.meaning.strip() and not key.meaning.endswith("."), f"{key.name}: no doc line, or a full stop at its end"
    if "number" in key.kind:
        assert "any" not in key.allowed, f"{key.name}: give it a minimum and a maximum in harness/config/params.py"


def test_every_key_of_the_presets_is_in_the_table() -> None:
    known = {key.name for key in keys()}
    for preset in sorted((ROOT / "presets").glob("*.yaml")):
        for path in paths(yaml.safe_load(preset.read_text())):
            names = [name for name in path if isinstance(name, str)]
            if names[0] == "systems" and len(names) > 1:
                names[1] = "MODEL"
            assert ".".join(names) in known or names == ["systems", "MODEL"], f"{preset.name}: {path}"


def test_the_table_is_current() -> None:
    committed = (ROOT / "docs" / "parameters.md").read_text()
    assert committed == table(), "docs/parameters.md is stale: run `make docs`"
    assert committed.count("\n| `") == len(list(keys())) > 60
