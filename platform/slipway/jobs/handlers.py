"""What rooms tell about their kinds of jobs: each registers its own when Django starts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta

from slipway.jobs.models import Job
from workers.errors import BadCommand
from workers.messages import (
    BakeImage,
    BuildImage,
    Command,
    ImportImage,
    PruneBuildCache,
    PullImage,
    PushImage,
    RemoveImage,
    decode_command,
)

JobCommand = BakeImage | BuildImage | ImportImage | PruneBuildCache | PullImage | PushImage | RemoveImage
LEASE = timedelta(seconds=30)
"""A running job that was silent for so long may have lost its worker; it says something every 5 s."""


def _nothing(job: Job) -> None:
    """Most jobs leave nothing to put back."""


def same_again(job: Job, new_id: str) -> JobCommand | None:
    """The command of ``job`` for another job, to do the same once more."""
    try:
        command = decode_command(job.command)
    except BadCommand:  # written by another version of us
        return None
    return replace(command, job=new_id) if isinstance(command, JobCommand) else None


def never_again(job: Job, new_id: str) -> JobCommand | None:
    """For jobs whose input is gone once they have ended."""
    return None


def as_kept(job: Job, command: JobCommand) -> JobCommand:
    """Most commands hold no secrets: what is sent is what is kept."""
    return command


@dataclass(frozen=True)
class Handler:
    kind: str
    is_build: bool = False
    """One of the few a project may have under way at once."""
    undo: Callable[[Job], None] = _nothing
    """The job failed or was cancelled: put back what was changed when it was queued. Repeatable."""
    again: Callable[[Job, str], JobCommand | None] = same_again
    """The command of a retry with that job id; None: this cannot be done again."""
    complete: Callable[[Job, JobCommand], JobCommand] = as_kept
    """Put in what the row does not keep (passwords, tokens), each time the command is sent."""
    needs_slot: bool = False
    """It waits for one of its node's slots, in the fair order of ``jobs.fairness``."""
    lease: timedelta = LEASE
    is_fenced: bool = False
    """A job whose worker fell silent is sent with a higher ``Job.attempt``, which ends the one before."""
    ended: Callable[[Job], None] = _nothing
    """It has ended, in whatever way. Called in the transaction that says so. Repeatable."""


_handlers: dict[str, Handler] = {}


def register(handler: Handler) -> None:
    """Raise ``ValueError`` when another handler has the kind."""
    if _handlers.setdefault(handler.kind, handler) != handler:
        raise ValueError(f"Jobs of kind {handler.kind} have a handler already")


def handler_of(kind: str) -> Handler:
    return _handlers.get(kind) or Handler(kind)


def slot_kinds() -> tuple[str, ...]:
    """The kinds that wait for slots."""
    return tuple(kind for kind, handler in _handlers.items() if handler.needs_slot)


def command_of(job: Job) -> Command:
    """What to send: the command as kept, with its secrets as they are now. Raise ``BadCommand``."""
    command = decode_command(job.command)
    return handler_of(job.kind).complete(job, command) if isinstance(command, JobCommand) else command
