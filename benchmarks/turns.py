"""Timing contestants in turns, so that what happens to the machine happens to all of them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter

WARM_UP = 2


@dataclass(frozen=True)
class Contestant:
    name: str
    once: Callable[[], None]


def take_turns(contestants: Sequence[Contestant], *, rounds: int) -> dict[str, dict[str, float]]:
    """Milliseconds of each by name: median, tenth and ninetieth percentile. The first rounds do not count."""
    times: dict[str, list[float]] = {contestant.name: [] for contestant in contestants}
    for turn in range(-WARM_UP, rounds):
        # Each turn begins with somebody else: nobody always runs after the same neighbour.
        first = turn % len(contestants)
        for contestant in (*contestants[first:], *contestants[:first]):
            began = perf_counter()
            contestant.once()
            if turn >= 0:
                times[contestant.name].append((perf_counter() - began) * 1000)
    return {name: _summary(values) for name, values in times.items()}


def _summary(values: list[float]) -> dict[str, float]:
    tenths = statistics.quantiles(values, n=10)
    return {
        "median": round(statistics.median(values), 1),
        "p10": round(tenths[0], 1),
        "p90": round(tenths[-1], 1),
        "turns": len(values),
    }
