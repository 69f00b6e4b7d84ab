"""Durations as Go writes them: ``1m30s``, ``500ms``. Pure; in nanoseconds."""

from __future__ import annotations

import re

from workers.engine.dockerfile.errors import Mistake

SECOND = 1_000_000_000
_UNITS = {
    "ns": 1,
    "us": 1000,
    "µs": 1000,
    "μs": 1000,
    "ms": 1_000_000,
    "s": SECOND,
    "m": 60 * SECOND,
    "h": 3600 * SECOND,
}
_PART = re.compile(r"([0-9]{1,12})(?:\.([0-9]{0,12}))?(ns|us|µs|μs|ms|s|m|h)")
_LONGEST = (1 << 63) - 1


def parse_duration(text: str) -> int:
    """Raise ``Mistake``. A bare ``0`` needs no unit."""
    if text == "0":
        return 0
    total, position = 0, 0
    while match := _PART.match(text, position):
        unit = _UNITS[match[3]]
        fraction = match[2] or "0"
        total += int(match[1]) * unit + int(fraction) * unit // 10 ** len(fraction)
        position = match.end()
    if not text or position != len(text) or total > _LONGEST:
        raise Mistake(f"{text[:40]!r} is no duration; 30s or 1m30s was expected", text)
    return total


def format_duration(nanoseconds: int) -> str:
    """``1m30s``, ``500ms``, ``0s``."""
    if nanoseconds < SECOND:
        for unit in ("ms", "µs"):
            if nanoseconds >= _UNITS[unit]:
                return _decimal(nanoseconds, _UNITS[unit]) + unit
        return f"{nanoseconds}ns" if nanoseconds else "0s"
    minutes, rest = divmod(nanoseconds, 60 * SECOND)
    hours, minutes = divmod(minutes, 60)
    seconds = _decimal(rest, SECOND) + "s"
    if hours:
        return f"{hours}h{minutes}m{seconds}"
    return f"{minutes}m{seconds}" if minutes else seconds


def _decimal(number: int, unit: int) -> str:
    whole, fraction = divmod(number, unit)
    digits = str(fraction).rjust(len(str(unit)) - 1, "0").rstrip("0") if fraction else ""
    return f"{whole}.{digits}" if digits else str(whole)
