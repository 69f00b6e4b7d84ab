"""A line of the doctor, of a node or of the platform: what was looked at, what was seen, what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "degraded", "missing"]
SIGNS: dict[Status, str] = {"ok": "✓", "degraded": "!", "missing": "✗"}


@dataclass(frozen=True)
class Check:
    """One dependency. ``why`` is what was seen; ``fix`` is what to do, empty when ok."""

    name: str
    status: Status
    why: str
    fix: str = ""


def worst(checks: Sequence[Check]) -> Status:
    """The verdict on all of them."""
    found = {check.status for check in checks}
    return "missing" if "missing" in found else "degraded" if "degraded" in found else "ok"


def table(checks: Sequence[Check], width: int = 0) -> str:
    """Aligned for people: sign, word, name, what was seen; the fix below. ``width`` of names, at least."""
    width = max([width, *(len(check.name) for check in checks)])
    lines = []
    for check in checks:
        lines.append(f"{SIGNS[check.status]} {check.status:<8}  {check.name:<{width}}  {check.why}")
        if check.fix:
            lines.append(f"{'':<10}  {'':<{width}}  fix: {check.fix}")
    return "\n".join(lines)
