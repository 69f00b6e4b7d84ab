"""Typed causes on their way to the platform."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Failure:
    """A typed cause: a ``workers.errors`` code, one sentence, and its facts."""

    code: str
    message: str
    facts: dict[str, str | int | None] = field(default_factory=dict)
