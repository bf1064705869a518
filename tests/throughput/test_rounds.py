"""Which rounds count: those in which other guests of the host took processor time away do not, if enough others do."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate, chain, repeat

import numpy as np
import pytest
import torch

from harness.throughput import rounds

CPU = torch.device("cpu")


def steal(monkeypatch: pytest.MonkeyPatch, by_round: Iterable[float]) -> None:
    """Let `stolen_seconds`, asked before and after each round, grow by these in the rounds."""
    readings = accumulate(chain.from_iterable((0.0, taken) for taken in by_round))
    monkeypatch.setattr(rounds, "stolen_seconds", lambda: next(readings))


def test_disturbed_rounds_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    steal(monkeypatch, chain([0.0, 9.0, 0.0, 9.0], repeat(0.0)))
    calls: list[str] = []
    taken, failed = rounds.take_turns({name: lambda name=name: calls.append(name) for name in "ab"}, CPU, 0.0)
    assert not failed and {name: len(values) for name, values in taken.items()} == {"a": 5, "b": 5}
    assert len(calls) == 2 * 7


def test_where_no_round_is_quiet_all_count(monkeypatch: pytest.MonkeyPatch) -> None:
    steal(monkeypatch, repeat(9.0))
    taken, _ = rounds.take_turns({"a": lambda: None}, CPU, 0.0)
    assert len(taken["a"]) == rounds.PATIENCE * rounds.LEAST


def test_what_fails_is_left_out_and_its_neighbour_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    steal(monkeypatch, chain([9.0], repeat(0.0)))
    taken, failed = rounds.take_turns({"a": lambda: None, "b": lambda: 1 / 0}, CPU, 0.0)
    assert list(taken) == ["a"] and len(taken["a"]) == 5 and "ZeroDivisionError" in failed["b"]
    assert np.all(taken["a"] >= 0)


def test_stolen_time_only_grows() -> None:
    before = rounds.stolen_seconds()
    assert 0 <= before <= rounds.stolen_seconds()
