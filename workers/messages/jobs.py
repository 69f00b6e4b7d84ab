"""Messages about jobs of any kind: how they go, and their end."""

from __future__ import annotations

from dataclasses import dataclass

from workers.messages.failures import Failure


@dataclass(frozen=True)
class CancelJob:
    """End job now, whether it waits, runs or has not come yet; answered by the event of its end."""

    job: str


@dataclass(frozen=True)
class JobStarted:
    job: str


@dataclass(frozen=True)
class JobProgressed:
    """``detail`` is one short line for people; ``done``/``total`` are bytes, or 0 where unknown."""

    job: str
    detail: str
    done: int = 0
    total: int = 0


@dataclass(frozen=True)
class JobSucceeded:
    job: str


@dataclass(frozen=True)
class JobFailed:
    job: str
    cause: Failure


@dataclass(frozen=True)
class JobCancelled:
    job: str
