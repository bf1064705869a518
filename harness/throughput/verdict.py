"""What a measured ratio says, in words. Imports neither NumPy nor PyTorch, since reports say the same."""

from __future__ import annotations

from harness.throughput.rows import OK, Row


def in_words(ratio: float, low: float, high: float, noise: float | None) -> str:
    """`slower by 12%`, `faster by 3%`, or `no difference`.

    There is no difference where the ratio, or its 95% interval, is no further from 1 than what a model timed against
    itself shows (`noise`).
    """
    if noise is None:
        return "noise not measured"
    if abs(ratio - 1) <= noise or low <= 1 <= high:
        return "no difference"
    return f"{'slower' if ratio < 1 else 'faster'} by {100 * abs(ratio - 1):.0f}%"


def of_row(row: Row) -> str:
    """Of a DCLS model's row: clips a second, ratio with interval and noise, and the verdict; or why there is none."""
    if row["status"] != OK:
        return str(row["status"])
    said = f"{float(row['throughput']):.3g} clips/s"
    if row["ratio_to_baseline"] in (None, ""):
        return f"{said}, its baseline was not timed"
    numbers = [float(row[f"ratio_to_baseline{end}"]) for end in ("", "_low", "_high")]
    noise = float(row["no_difference_below"]) if row["no_difference_below"] not in (None, "") else None
    ratio, low, high = numbers
    known = "" if noise is None else f", noise {noise:.3f}"
    return f"{said}, {ratio:.3f} ({low:.3f} to {high:.3f}{known}) of its baseline: {in_words(ratio, low, high, noise)}"
