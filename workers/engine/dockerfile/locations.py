"""Places in a Dockerfile, and what is to be said about them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Location:
    """Lines count from 1; ``text`` is the instruction as written, over all its lines."""

    file: str
    first_line: int
    last_line: int
    text: str


@dataclass(frozen=True)
class Finding:
    """What a check (``checks``) has to say; it does not stop a build."""

    rule: str
    """``StageNameCasing``; the names are BuildKit's."""
    message: str
    location: Location
