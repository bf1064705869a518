"""params.yaml: whatever it holds, there are Params or one line that names file and key."""

from __future__ import annotations

import copy
import datetime
import json
import re
import time
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, assume, event, example, given, settings
from hypothesis import strategies as st

from harness.base.errors import UserError
from harness.config.params import Params, load
from harness.config.strict_yaml import MOST_BYTES, MOST_NODES
from harness.records.provenance import as_plain
from tests.conftest import ROOT

TEXT = (ROOT / "presets" / "instruments.yaml").read_text()
MODEL = "convnext_dcls_audio_tiny"
SMALL = yaml.safe_load(TEXT)  # with one model, as PyYAML is slow
SMALL |= {"models": [MODEL], "systems": {MODEL: SMALL["systems"][MODEL] | {"compared_with": []}}}
FUZZ = settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
TOKENS = (
    *(
        "a: ",
        "b: ",
        "train: ",
        "seeds: ",
        "preset: ",
        "? ",
        "- ",
        "[",
        "]",
        "{",
        "}",
        ", ",
        "\n",
        "  ",
        "&a ",
        "*a ",
        "&b ",
    ),
    *(
        "*b",
        "<<: ",
        "!!int ",
        "!!float ",
        "!!bool ",
        "!!timestamp ",
        "!!binary ",
        "!!set ",
        "!!omap ",
        "!!str ",
        "!!map ",
    ),
    *(
        "!!seq ",
        "!!pairs ",
        "!!merge ",
        "!!python/object/apply:os.system ",
        "!x ",
        "1",
        "0x1f",
        "1e999",
        ".nan",
        "-.inf",
    ),
    *(
        "2001-02-30",
        "2001-02-03",
        "1:61:61",
        "0b",
        "0o9",
        "0_",
        "~",
        "null",
        "yes",
        "=",
        '"\\ud800"',
        "'",
        '"',
        "# c",
        "|\n",
    ),
    *(">-\n", "---\n", "...\n", "%YAML 1.1\n", "\t", "\x85", "\u2028", "\ufeff", "é", "@", "`"),
)


def outcome(folder: Path, content: bytes | str) -> Params | str:
    """The parameters, or the one line, without the file's name; anything else that happens fails the test."""
    path = folder / "fuzzed.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    try:
        params = load(path)
    except UserError as error:
        line = str(error)
        assert line.startswith(f"{path}: ") and len(line) < 2000, line
        assert not [character for character in line if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")], (
            line
        )
        return line.removeprefix(f"{path}: ")
    json.dumps(params.model_dump(mode="json"), allow_nan=False, ensure_ascii=False).encode()  # results record them
    return params


def paths(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Where there is a value, at any depth."""
    if path:
        yield path
    for name, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from paths(item, (*path, name))


def changed(path: tuple[str | int, ...], value: Any) -> Any:
    """The default preset, of one model, with another value at `path`."""
    whole = inner = copy.deepcopy(SMALL)
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    return whole


SCALARS = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.binary(max_size=20)),
    *(
        st.dates(),
        st.datetimes(),
        st.sampled_from([10**400, -(10**400), 2**63, 1e308, "1e999", "nan", " ", "\0", "../x"]),
    ),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5), st.dictionaries(st.one_of(SCALARS, st.text()), inner, max_size=5)
    ),
    max_leaves=8,
)
PATHS = sorted(paths(SMALL), key=str)


@FUZZ
@given(path=st.sampled_from(PATHS), value=VALUES)
@example(path=("preset",), value="a" * 5000)
@example(path=("data", "mirror"), value="a\0b")
@example(path=("systems",), value={MODEL + "\n": {}})
@example(path=("train", "batch"), value=datetime.date(2026, 1, 2))
@example(path=("seeds", 0), value=10**400)
def test_any_value_at_any_key(tmp_path: Path, path: tuple[str | int, ...], value: Any) -> None:
    said = outcome(tmp_path, yaml.safe_dump(changed(path, value), allow_unicode=True))
    event("taken" if isinstance(said, Params) else "refused")
    if isinstance(said, str) and not said.startswith("cannot be read as YAML"):
        related = {"models": "systems"}  # whose entry may be missing
        assert said.startswith((str(path[0]), related.get(str(path[0]), "\0"))), said


@FUZZ
@given(section=st.sampled_from(("data", "train", "evaluate", "throughput", "systems", "params")), name=SCALARS)
def test_any_key_anywhere(tmp_path: Path, section: str, name: Any) -> None:
    """A key beside the known ones; whatever YAML takes for one."""
    assume(name not in ("data", "kind", "csv", "batch"))
    content = changed((name,) if section == "params" else (section, name), 1)
    said = outcome(tmp_path, yaml.safe_dump(content, allow_unicode=True))
    assert isinstance(said, str)
    if not said.startswith("cannot be read as YAML"):
        assert said.startswith(f"{section}.") or section == "params", said


@FUZZ
@given(st.lists(st.sampled_from(TOKENS), max_size=25).map("".join))
@example("a: &a [*a]")
@example("? [1]\n: 2")
@example("train: {<<: 1}")
def test_any_document(tmp_path: Path, content: str) -> None:
    assert isinstance(outcome(tmp_path, content), str)
    assert isinstance(outcome(tmp_path, TEXT + "\nmore: " + content), str)


@FUZZ
@given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode)))
def test_any_bytes(tmp_path: Path, content: bytes) -> None:
    assert isinstance(outcome(tmp_path, content), str)


@FUZZ
@given(st.integers(0, len(TEXT)), st.integers(0, 30), st.sampled_from(TOKENS))
def test_any_slip_of_the_hand(tmp_path: Path, place: int, gone: int, come: str) -> None:
    outcome(tmp_path, TEXT[:place] + come + TEXT[place + gone :])


NINE = "".join(f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]\n" for level in range(1, 10))
MERGES = "".join(f"a{level}: &a{level} {{<<: [{', '.join([f'*a{level - 1}'] * 9)}]}}\n" for level in range(1, 10))
HOSTILE = {
    "nested lists": ("seeds: " + "[" * 5000, "cannot be read as YAML (nested too deeply)"),
    "nested mappings": ("{a: " * 20000, "cannot be read as YAML (nested too deeply)"),
    "nested blocks": ("- " * 20000, "cannot be read as YAML (nested too deeply)"),
    "a bomb of aliases": (
        "a0: &a0 [1]\n" + NINE,
        f"a4: has more than {MOST_NODES} values once aliases are written out",
    ),
    "a bomb of merges": ("a0: &a0 {b: 1}\n" + MERGES, f"a4.'<<': has more than {MOST_NODES} values once aliases"),
    "an alias to itself": ("train: &t {batch: *t}", "train.batch: contains itself, by an alias"),
    "a long chain": (
        "a0: &a0 [1]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 2000)),
        "params: has more than",
    ),
    "too large": ("a" * (MOST_BYTES + 1), f"has more than {MOST_BYTES} bytes"),
    "a huge number": (f"seeds: [{'9' * 5000}]", "seeds[0]: cannot be read as YAML (Exceeds the limit"),
    "a huge hexadecimal": (
        TEXT.replace("seeds: [0, 1, 2]", f"seeds: [0x{'f' * 50000}]", 1),
        "seeds[0]: is a number of thous",
    ),
    "an impossible date": (
        "data: {csv: 2026-02-30}",
        "data.csv: cannot be read as YAML (day is out of range for month)",
    ),
    "a tag that lies": ("data: {csv: !!timestamp x}", "data.csv: cannot be read as YAML ('NoneType' object"),
    "an object": ("data: !!python/object/apply:os.system ['touch x']", "cannot be read as YAML (could not determine"),
    "two documents": ("a: 1\n---\nb: 1\n", "cannot be read as YAML (expected a single document"),
    "nothing": ("", "params: is None, must be a mapping"),
    "a number for a key": ("train: {1: 2}", "train.1: is no text but a key, in line 1"),
    "yes for a key": ("train: {yes: 2}", "train.yes: is no text but a key, in line 1"),
    "a list for a key": ("train: {[1]: 2}", "train: has a list or a mapping as a key, in line 1"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_documents_are_refused_at_once(tmp_path: Path, name: str) -> None:
    content, expected = HOSTILE[name]
    started = time.process_time()
    said = outcome(tmp_path, content)
    assert isinstance(said, str) and said.startswith(expected), said
    assert time.process_time() - started < 10


@pytest.mark.parametrize(
    ("once", "twice", "said"),
    [
        ("  batch: 8\n", "  batch: 8\n  batch: 32\n", "train.batch: is given twice"),
        ("  batch: 8\n", "  batch: 8\n  'batch': 8\n", "train.batch: is given twice"),
        ("\nseeds: [0, 1, 2]\n", "\nseeds: [0, 1, 2]\nseeds: [0]\n", "seeds: is given twice"),
        ("{batch: 32, b", "{batch: 32, batch: 32, b", "evaluate.batch: is given twice"),
        (
            "layer_scale: 1.0, s",
            "layer_scale: 1.0, layer_scale: null, s",
            "systems.convnext_audio_tiny.model.layer_scale: is",
        ),
    ],
)
def test_a_key_given_twice_is_refused(tmp_path: Path, once: str, twice: str, said: str) -> None:
    assert isinstance(outcome(tmp_path, TEXT), Params)
    found = outcome(tmp_path, TEXT.replace(once, twice, 1))
    assert isinstance(found, str) and found.startswith(said), found
    line = TEXT.replace(once, twice, 1).splitlines()[int(re.findall(r"again in line (\d+); delete one", found)[0]) - 1]
    assert said.split(":")[0].split(".")[-1] in line


def test_anchors_and_merges_do_what_they_say(tmp_path: Path) -> None:
    params = outcome(tmp_path, TEXT)
    assert isinstance(params, Params), params
    dcls, base = params.systems[MODEL], params.systems["convnext_audio_tiny"]
    assert dcls.model == base.model.model_copy(update={"dcls": dcls.model.dcls}) and dcls.schedule == base.schedule


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("train", "mixup_alhpa"), 1, "train.mixup_alhpa: unknown key; did you mean 'mixup_alpha'?"),
        (("train", "zzz"), 1, "train.zzz: unknown key; known keys: warmup_fraction, batch, "),
        (("train", "bat\nch"), 1, "train.'bat\\nch': unknown key; did you mean 'batch'?"),
        (("train", "batch"), "all", "train.batch: is 'all', must be a whole number"),
        (("systems", "convnext_tyny"), {}, "systems.convnext_tyny.model: missing"),
        (
            ("systems", MODEL, "model", "bakbone"),
            1,
            f"systems.{MODEL}.model.bakbone: unknown key; did you mean 'backbone'?",
        ),
        (
            ("models",),
            ["convnext_dcls_audio_tyny"],
            "systems.convnext_dcls_audio_tyny: missing; every system in `models` ",
        ),
        (("train", "batch"), 10**30, f"train.batch: is {10**30}, must be at most 1000000000"),
        (("data", "mirror"), "a\nb", "data.mirror: is 'a\\nb', must be one line of 1 to 4096 characters"),
        (("data", "mirror"), "", "data.mirror: is '', must be one line of 1 to 4096 characters"),
        (("preset",), "p" * 65, "preset: is "),
        (("preset",), "-p", "preset: is '-p', must be letters, digits, - and _, at most 64, no - first"),
        (("preset",), "\u00e4" * 64, "preset: is "),
        (("preset",), "Throughput", "preset: is 'Throughput', must be another name: results/throughput is for every"),
        (("preset",), "a\n", "preset: is 'a\\n', must be letters, digits, - and _"),
        (("train", "weight_decay"), "0.05", "train.weight_decay: is '0.05', must be a number"),
        (("train", "weight_decay"), "1_0", "train.weight_decay: is '1_0', must be a number"),
        (("train", "roll"), 1, "train.roll: is 1, must be true or false"),
        (("train", "batch"), 16.0, "train.batch: is 16.0, must be a whole number"),
        (("seeds",), {0: 1}, "seeds.0: is no text but a key"),
        (("seeds",), "0", "seeds: is '0', must be a list"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, path: tuple[str, ...], value: Any, said: str) -> None:
    found = outcome(tmp_path, yaml.safe_dump(changed(path, value)))
    assert isinstance(found, str) and found.startswith(said), found


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("1_0", "train.batch: cannot be read as YAML ('1_0' is no number in plain digits)"),
        ("1:30", "train.batch: cannot be read as YAML ('1:30' is no number in plain digits)"),
        ("020", "train.batch: cannot be read as YAML ('020' is no number in plain digits)"),
        ("0b1", "train.batch: cannot be read as YAML ('0b1' is no number in plain digits)"),
        ("1_6.0", "train.batch: cannot be read as YAML ('1_6.0' is no number in plain digits)"),
        ("!!int '1_6'", "train.batch: cannot be read as YAML ('1_6' is no number in plain digits)"),
        ("0o20", "train.batch: is '0o20', must be a whole number"),
        ("16.0", "train.batch: is 16.0, must be a whole number"),
        ("1e1", "train.batch: is 10.0, must be a whole number"),
        ("0x10", ""),
        ("+16", ""),
    ],
)
def test_a_number_is_what_it_looks_like(tmp_path: Path, written: str, said: str) -> None:
    """YAML 1.1 reads 1_0 as 10, 1:30 as 90 and 020 as 16."""
    found = outcome(tmp_path, TEXT.replace("  batch: 8\n", f"  batch: {written}\n", 1))
    if said:
        assert found == said
    else:
        assert isinstance(found, Params) and found.train.batch == 16


def test_results_record_the_parameters_as_they_always_did() -> None:
    """Records and the fingerprints of unfinished runs hold these values: all, in this order, 1.0 not 1."""
    expected = json.loads((ROOT / "tests" / "data" / "parameters.json").read_text())
    found = {path.stem: as_plain(load(path)) for path in sorted((ROOT / "presets").glob("*.yaml"))}
    for values in found.values():
        del values["execution"]  # no record holds it
    assert json.dumps(found) == json.dumps(expected)


def test_parameters_cannot_be_changed() -> None:
    params = load(ROOT / "presets" / "instruments.yaml")
    assert params.seeds == (0, 1, 2) and params.data.audioset is None
    with pytest.raises(ValueError, match="frozen"):
        params.train.batch = 3
