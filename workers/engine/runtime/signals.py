"""Signal names as people and images write them."""

from __future__ import annotations

import re
import signal

from workers.errors import InvalidSpec

_REALTIME = re.compile(r"RT(MIN|MAX)(?:([+-])(\d{1,2}))?")


def parse(text: str) -> int:
    """``SIGTERM``, ``term``, ``15``, ``SIGRTMIN+3``. Raise ``InvalidSpec`` for anything else."""
    name = text.strip().upper().removeprefix("SIG")
    number = _number(name)
    if number is None or not 1 <= number <= signal.SIGRTMAX:
        raise InvalidSpec(f"No such signal: {text[:40]!r}")
    return number


def _number(name: str) -> int | None:
    if name.isdigit() and name.isascii():
        return int(name)
    realtime = _REALTIME.fullmatch(name)
    if realtime:
        base = signal.SIGRTMIN if realtime[1] == "MIN" else signal.SIGRTMAX
        offset = int(realtime[3] or 0)
        return base + (offset if realtime[2] == "+" else -offset)
    named = getattr(signal, f"SIG{name}", None)
    return int(named) if isinstance(named, signal.Signals) else None
