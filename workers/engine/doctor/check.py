"""One line of the doctor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "degraded", "missing"]


@dataclass(frozen=True)
class Check:
    """One dependency. ``why`` is what was seen; ``fix`` is what to do, empty when ok."""

    name: str
    status: Status
    why: str
    fix: str = ""
