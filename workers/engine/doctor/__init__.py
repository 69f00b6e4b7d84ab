"""What a node needs, each thing proven by using it: ok, degraded or missing, why, and the fix."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Status = Literal["ok", "degraded", "missing"]


@dataclass(frozen=True)
class Check:
    """One dependency. ``why`` is what was seen; ``fix`` is what to do, empty when ok."""

    name: str
    status: Status
    why: str
    fix: str = ""


def examine(data: Path, run: Path, instance: str) -> tuple[Check, ...]:
    """Every line of this node, in a fixed order. Needs root; leaves nothing behind; takes about a second."""
    raise NotImplementedError
