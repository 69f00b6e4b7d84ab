"""Where an object lies in the tree of teams and projects: all that policy needs to know of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol
from uuid import UUID


@dataclass(frozen=True)
class Scope:
    team_id: UUID
    project_id: UUID | None = None
    """None: the object belongs to the team as a whole."""
    everyone_reads: bool = False
    """The library: every signed-in user may look at it and run its images."""


class Scoped(Protocol):
    @property
    def scope(self) -> Scope: ...


@dataclass(frozen=True)
class Place:
    """As ``Scope``, for the audit log, which also tells of what belongs to no team."""

    team_id: UUID | None = None
    project_id: UUID | None = None


NOWHERE = Place()
