"""Which stage starts next when several may run side by side, and how long all of them take."""

from __future__ import annotations

from collections.abc import Collection, Mapping


def seconds_to_end(needs: Mapping[str, Collection[str]], seconds: Mapping[str, float]) -> dict[str, float]:
    """Of each stage, the seconds of the longest path from its start to the end; `needs` lists dependencies first."""
    longest = dict.fromkeys(needs, 0.0)
    for name in reversed(needs):
        longest[name] += seconds[name]
        for dependency in needs[name]:
            if dependency in longest:
                longest[dependency] = max(longest[dependency], longest[name])
    return longest


def next_stage(
    ready: Collection[str], running: Collection[str], alone: Collection[str], to_end: Mapping[str, float]
) -> str | None:
    """The ready stage to start now, the one with the longest path to the end; None where none may start.

    A stage of `alone` runs with nothing beside it, and after all others that are ready.
    """
    if any(name in alone for name in running):
        return None
    shared = [name for name in ready if name not in alone]
    if not shared and not running:
        shared = list(ready)
    return max(shared, key=to_end.__getitem__, default=None)


def makespan(
    needs: Mapping[str, Collection[str]],
    seconds: Mapping[str, float],
    alone: Collection[str],
    jobs: int,
    cores: int | None = None,
) -> float:
    """Seconds until all stages have run, `jobs` at a time; where they are more than `cores`, they share those evenly.

    `needs` lists dependencies first; those that are not among its keys count as done.
    """
    to_end, left = seconds_to_end(needs, seconds), dict(seconds)
    waiting, running, clock = list(needs), list[str](), 0.0
    while waiting or running:
        ready = [name for name in waiting if not any(each in waiting or each in running for each in needs[name])]
        while len(running) < jobs and (name := next_stage(ready, running, alone, to_end)):
            for names in (ready, waiting):
                names.remove(name)
            running.append(name)
        slowdown = max(1.0, len(running) / (cores or jobs))
        step = min(left[name] for name in running)
        clock += step * slowdown
        for name in running:
            left[name] -= step
        running = [name for name in running if left[name] > 0]
    return clock
