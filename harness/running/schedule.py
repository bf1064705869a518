"""Which stage starts next when several may run side by side, and how long all of them take."""

from __future__ import annotations

from collections.abc import Collection, Mapping

Needs = Mapping[str, Collection[str]]  # the dependencies of each stage; those that are no key have run


def seconds_to_end(needs: Needs, seconds: Mapping[str, float]) -> dict[str, float]:
    """Of each stage, the seconds of the longest path from its start to the end; `needs` has dependencies first."""
    longest = dict(seconds)
    for name in reversed(list(needs)):
        for dependency in longest.keys() & set(needs[name]):
            longest[dependency] = max(longest[dependency], seconds[dependency] + longest[name])
    return longest


def next_stage(
    ready: Collection[str], running: Collection[str], alone: Collection[str], to_end: Mapping[str, float]
) -> str | None:
    """The ready stage with the longest path to the end; None where none may start.

    A stage of `alone` has nothing run beside it, and waits until no other is ready.
    """
    if any(name in alone for name in running):
        return None
    able = [name for name in ready if name not in alone] or ([] if running else list(ready))
    return max(able, key=to_end.__getitem__, default=None)


def makespan(
    needs: Needs, seconds: Mapping[str, float], alone: Collection[str], jobs: int, cores: int | None = None
) -> float:
    """Seconds until all of `needs` have run, `jobs` at a time; where `cores` are fewer, they share these evenly."""
    to_end, left, clock = seconds_to_end(needs, seconds), {name: seconds[name] for name in needs}, 0.0
    running: list[str] = []
    while left:
        ready = [name for name in left if name not in running and not left.keys() & set(needs[name])]
        while len(running) < jobs and (name := next_stage(ready, running, alone, to_end)):
            ready.remove(name)
            running.append(name)
        step = min(left[name] for name in running)
        clock += step * max(1.0, len(running) / (cores or jobs))
        for name in running:
            left[name] -= step
        for name in [each for each in running if left[each] < 1e-9]:
            running.remove(name)
            del left[name]
    return clock
