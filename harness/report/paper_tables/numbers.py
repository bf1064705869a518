"""Numbers as the tables print them; what is not there (None or NaN) is a dash."""

from __future__ import annotations

from typing import Any

import pandas as pd

NONE = "-"


def number(value: Any, form: str) -> str:
    return NONE if pd.isna(value) else format(value, form)


def words(value: Any, instead: str = NONE) -> str:
    return instead if pd.isna(value) else str(value)


def millions(value: Any) -> str:
    return NONE if pd.isna(value) else f"{value / 1e6:.1f}M"


def mean_sd(mean: Any, sd: Any, over: str = "", sign: str = "") -> str:
    """`43.14 ± 0.03 (n 3)`, less what is not there."""
    if pd.isna(mean):
        return NONE
    return f"{mean:{sign}.2f}{'' if pd.isna(sd) else f' ± {sd:.2f}'}{f' ({over})' if over else ''}"


def so_many(count: int, things: str) -> str:
    """`1 seed`, `3 seeds`; `things` is the plural."""
    return f"{count} {things if count > 1 else things[:-1]}"


def number_of_runs(runs: Any, repeats: Any) -> str:
    """`n 3` of seeds, `5 folds` of folds; empty where there are no runs."""
    if pd.isna(runs):
        return ""
    return so_many(runs, repeats) if repeats == "folds" else f"n {runs}"


def rate(value: Any) -> str:
    """Three significant digits, one decimal from 100 on, as the paper has it."""
    return NONE if pd.isna(value) else f"{value:.1f}" if value >= 100 else f"{value:#.3g}"


def span(low: Any, high: Any, sign: str = "") -> str:
    return NONE if pd.isna(low) or pd.isna(high) else f"{low:{sign}.2f} to {high:{sign}.2f}"
