"""What an event makes of a container's row: decisions without a database.

Each function takes the row as it is and returns the columns that change, or None when the event tells
nothing new: it may come twice, or after a later one. ``(generation, run)`` only ever grow.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from slipway.containers.models import ALIVE, NEXT, Container, State
from workers.messages import (
    ContainerExited,
    ContainerFacts,
    ContainerFailed,
    ContainerRemoved,
    ContainerStarted,
    Failure,
)

Columns = dict[str, Any]

LOST = Failure(
    code="NODE_LOST_CONTAINER",
    message="The node no longer knows this container; its process is gone and its exit code is unknown.",
)

UNKNOWN_EXIT = Failure(
    code="EXIT_UNKNOWN",
    message="The container has ended; what its node told of the exit was lost, or it could not tell.",
)


def after(row: Container, event: ContainerEvent, at: datetime) -> Columns | None:
    """The columns that change; None when nothing does. ``at`` is when the node wrote the event."""
    if row.removed_at is not None:
        return None
    match event:
        case ContainerStarted():
            columns = _started(row, event)
        case ContainerExited():
            columns = _exited(row, event)
        case ContainerFailed():
            columns = _failed(row, event)
        case ContainerRemoved():
            columns = _removed(row, event, at)
    if columns is None:
        return None
    return _with_answer(row, columns)


ContainerEvent = ContainerStarted | ContainerExited | ContainerFailed | ContainerRemoved


def _started(row: Container, event: ContainerStarted) -> Columns | None:
    if event.generation < row.observed_generation or event.run <= row.run:
        return None
    if not _may_become(row, State.RUNNING):
        return None
    return {
        "observed": State.RUNNING,
        "observed_generation": event.generation,
        "run": event.run,
        "address": event.address or None,
        "started_at": _time(event.started_at),
        "finished_at": None,
        "exit_code": None,
        "oom_killed": False,
        "cause": None,
    }


def _exited(row: Container, event: ContainerExited) -> Columns | None:
    if event.generation < row.observed_generation or event.run < row.run:
        return None
    if event.run == row.run and row.observed not in ALIVE:
        # The outcome is known; a stop that found nothing to stop only raises the generation.
        return _answered(row, event.generation)
    return {
        "observed": State.EXITED,
        "observed_generation": event.generation,
        "run": event.run,
        "exit_code": event.exit_code,
        "oom_killed": event.oom_killed,
        "cause": asdict(event.cause) if event.cause else None,
        "address": None,
        "finished_at": _time(event.finished_at),
    }


def _failed(row: Container, event: ContainerFailed) -> Columns | None:
    if event.generation < row.observed_generation or event.run < row.run:
        return None
    if event.run == row.run and (row.observed in ALIVE or event.generation == row.observed_generation):
        return None
    return {
        # As before the attempt: created, or exited from the run before.
        "observed": State.EXITED if row.observed in ALIVE else row.observed,
        "observed_generation": event.generation,
        "run": event.run,
        "exit_code": event.exit_code,
        "oom_killed": False,
        "cause": asdict(event.cause),
        "address": None,
    }


def _removed(row: Container, event: ContainerRemoved, at: datetime) -> Columns | None:
    # Events are not signed. Were a forged one believed, the next inventory would show a container that
    # should be gone, and the node would be told to remove it indeed.
    if row.desired != State.REMOVING:
        return None
    columns: Columns = {
        "removed_at": at,
        "observed_generation": max(event.generation, row.observed_generation),
        "address": None,
        "resend_at": None,
    }
    if row.observed in ALIVE:
        # Removed by force without an exit on record.
        columns |= {"observed": State.EXITED, "finished_at": at}
    return columns


def after_inventory(row: Container, held: ContainerFacts | None, at: datetime) -> Columns | None:
    """Correct a row by what its node holds (``held``; None: nothing of that name)."""
    if row.removed_at is not None or row.observed not in ALIVE:
        return None
    if held is None:
        lost = ContainerExited(
            row.id,
            row.observed_generation,
            row.run,
            None,
            oom_killed=False,
            finished_at=at.timestamp(),
            cause=LOST,
        )
        return after(row, lost, at)
    if held.state == State.EXITED and held.run >= row.run:
        ended = ContainerExited(
            row.id,
            held.generation,
            held.run,
            held.exit_code,
            oom_killed=False,
            finished_at=at.timestamp(),
            cause=UNKNOWN_EXIT if held.exit_code is None else None,
        )
        return after(row, ended, at)
    return None


def _answered(row: Container, generation: int) -> Columns | None:
    return {"observed_generation": generation} if generation > row.observed_generation else None


def _with_answer(row: Container, columns: Columns) -> Columns:
    """Once the node has answered the last wish there is nothing to send again."""
    if columns.get("observed_generation", 0) >= row.desired_generation and row.resend_at is not None:
        columns["resend_at"] = None
    return columns


def _may_become(row: Container, state: State) -> bool:
    # A later run of a container that still counts as running: its exit is implied.
    return row.observed in ALIVE or state in NEXT[State(row.observed)]


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
