"""Quantities as people write and read them; pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from slipway.cli.errors import Misused

_UNITS = {"": 0, "b": 0, "k": 10, "m": 20, "g": 30, "t": 40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([bkmgt]?)(?:i?b)?", re.IGNORECASE)


def parse_bytes(text: str, name: str) -> int:
    """``512m`` is 512 MiB, as docker has it."""
    if not (match := _SIZE.fullmatch(text.strip())):
        raise Misused(f"{name} {text[:40]!r}: a number with b, k, m, g or t is needed, like 512m.")
    return int(float(match[1]) * (1 << _UNITS[match[2].lower()]))


def parse_cpus(text: str) -> int:
    """Thousandths of a core from ``1.5``."""
    try:
        millis = round(float(text) * 1000)
    except (ValueError, OverflowError):
        millis = 0
    if millis <= 0:
        raise Misused(f"--cpus {text[:40]!r}: a number of cores is needed, like 0.5 or 2.")
    return millis


def parse_reference(text: str) -> tuple[str, str | None]:
    """``name`` and ``tag``; a colon before the last slash belongs to a port."""
    head, slash, last = text.rpartition("/")
    name, colon, tag = last.partition(":")
    if not name or (colon and not tag):
        raise Misused(f"{text[:100]!r} is not of the form NAME[:TAG].")
    return f"{head}{slash}{name}", tag or None


def show_bytes(size: int) -> str:
    value, unit = float(size), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"


def show_span(seconds: float) -> str:
    """The largest unit that fits, rounded down."""
    seconds = max(0, seconds)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{int(seconds)} s"


def since(stamp: str | None, now: datetime) -> str:
    """How long ago, for a table; a dash for a time that has not come."""
    if not stamp:
        return "-"
    return show_span((now - datetime.fromisoformat(stamp)).total_seconds())


def now() -> datetime:
    return datetime.now(UTC)
