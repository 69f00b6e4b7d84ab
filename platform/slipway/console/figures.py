"""Figures as people read them: sizes in binary units, durations to one decimal, ages, CPUs. Pure."""

from __future__ import annotations

import re
from datetime import datetime

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_SIZE = re.compile(r"\s*(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[kmgt]?)(?:i?b)?\s*", re.IGNORECASE)
_STEPS = (
    (60, 1, "second"),
    (3600, 60, "minute"),
    (86_400, 3600, "hour"),
    (2_592_000, 86_400, "day"),
    (31_536_000, 2_592_000, "month"),
)


def size_text(size: int | None) -> str:
    """``4.26 MiB``: four figures at most, as Docker prints them."""
    if size is None:
        return "—"
    value = float(size)
    for unit in _UNITS[:-1]:
        if value < 1024:
            return f"{_figures(value)} {unit}"
        value /= 1024
    return f"{_figures(value)} {_UNITS[-1]}"


def _figures(value: float) -> str:
    digits = 2 if value < 10 else 1 if value < 100 else 0
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def parse_size(text: str) -> int:
    """Bytes from ``512m``, ``512 MiB``, ``1.5g``; a bare number counts as MiB. Raise ``ValueError``."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:40]!r} is no size; 512 MiB or 2 GiB are.")
    power = {"k": 1, "m": 2, "g": 3, "t": 4}
    plain_bytes = text.strip().lower().endswith("b") and not match["unit"]
    unit = match["unit"].lower()
    return int(float(match["number"]) * 1024 ** (0 if plain_bytes else power.get(unit, 2)))


def cpu_text(millis: int) -> str:
    """``1.5 CPU`` from thousandths of a core."""
    return f"{millis / 1000:g} CPU"


def parse_cpu(text: str) -> int:
    """Thousandths of a core from ``1.5``, ``1.5 CPU`` or ``500m``. Raise ``ValueError``."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(m?)(?:\s*cpus?)?\s*", text, re.IGNORECASE)
    if match is None:
        raise ValueError(f"{text[:40]!r} is no amount of CPU; 0.5 or 2 are.")
    return round(float(match[1]) * (1 if match[2] else 1000))


def duration_text(seconds: float) -> str:
    """``2.5 s``, ``3.2 min``, ``1.5 h``, ``4.0 d``."""
    for below, unit, word in ((60, 1, "s"), (3600, 60, "min"), (86_400, 3600, "h")):
        if seconds < below:
            return f"{max(0.0, seconds) / unit:.1f} {word}"
    return f"{seconds / 86_400:.1f} d"


def age_text(at: datetime, now: datetime) -> str:
    """``3 minutes ago``; static/js/ages.js says the same."""
    seconds = (now - at).total_seconds()
    if seconds < 5:
        return "just now"
    for below, unit, word in _STEPS:
        if seconds < below:
            return _count(int(seconds // unit), word)
    return _count(int(seconds // 31_536_000), "year")


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'} ago"
