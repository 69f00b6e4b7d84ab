"""What is done again and again, by one process at a time: send what was not answered, clear what expired."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.contrib.sessions.models import Session
from django.db import connection
from django.db.models import F
from django.utils import timezone

from slipway import dispatch
from slipway.containers.commands import command_for
from slipway.containers.models import RESEND_AFTER, Container, State
from slipway.jobs import services as jobs
from slipway.jobs.models import ACTIVE, Job
from workers import crash
from workers.errors import BadCommand
from workers.messages import decode_command

log = structlog.get_logger(__name__)

SWEEP_SECONDS = 5.0
SESSIONS_SECONDS = 3600.0
CLOCK_JUMP = timedelta(seconds=30)
"""Less is what clocks are corrected by, and what a slow database takes."""
ROWS = 200
"""At most so many of each kind at a time; the others are still due at the next sweep."""
RESEND_MAX = timedelta(minutes=5)
ADVISORY_LOCK = 0x51_1F_5A_1E
"""Any number that no other program using the database takes."""


def resend_containers(now: datetime) -> int:
    """Send again the wishes that no event has answered in time. How many were sent."""
    due = (
        Container.objects.filter(
            resend_at__lte=now, removed_at=None, observed_generation__lt=F("desired_generation")
        )
        .select_related("project", "node")
        .order_by("resend_at")[:ROWS]
    )
    sent = 0
    for row in due:
        if not row.node.is_live(now):
            continue  # its queue only grows; it is asked when it is back
        wait = _patience(RESEND_AFTER, row.sends)
        if row.desired == State.EXITED:
            wait += timedelta(seconds=row.stop_timeout)
        # Only if nobody wished anew since the row was read.
        mine = Container.objects.filter(pk=row.pk, desired_generation=row.desired_generation)
        if mine.filter(resend_at=row.resend_at).update(resend_at=now + wait, sends=row.sends + 1):
            log.info("command_sent_again", container=row.id, desired=row.desired, sends=row.sends + 1)
            sent += dispatch.send_now(command_for(row), row.node)
    return sent


def resend_jobs(now: datetime) -> int:
    """Send again the jobs that wait or have been silent for too long. How many were sent."""
    due = (
        Job.objects.filter(resend_at__lte=now, state__in=ACTIVE)
        .select_related("node")
        .order_by("resend_at")[:ROWS]
    )
    sent = 0
    for row in due:
        if not row.node.is_live(now):
            continue
        wait = _patience(jobs.RESEND_AFTER, row.sends)
        changed = Job.objects.filter(pk=row.pk, resend_at=row.resend_at, state=row.state).update(
            resend_at=now + wait, sends=row.sends + 1
        )
        if changed:
            log.info("job_sent_again", job=row.hex, kind=row.kind, sends=row.sends + 1)
            sent += _send_job(row)
    return sent


def _send_job(row: Job) -> bool:
    try:
        command = decode_command(row.command)
    except BadCommand as error:  # written by another version of us
        log.error("job_not_understood", job=row.hex, error=error.message)
        return False
    return dispatch.send_now(command, row.node)


def _patience(first: timedelta, sends: int) -> timedelta:
    """Doubled with every sending."""
    doubled: timedelta = first * (1 << min(sends, 10))
    return min(doubled, RESEND_MAX)


def shift_deadlines(jump: timedelta) -> int:
    """The clock was set by ``jump``: what was to happen in a minute still happens in a minute.

    Else a clock set back would hold up what must be sent again for as long. How many rows were shifted.
    """
    log.warning("clock_jumped", seconds=jump.total_seconds())
    wishes = Container.objects.filter(resend_at__isnull=False, removed_at=None)
    waiting = Job.objects.filter(resend_at__isnull=False, state__in=ACTIVE)
    return sum(rows.update(resend_at=F("resend_at") + jump) for rows in (wishes, waiting))


def clear_sessions(now: datetime) -> int:
    return Session.objects.filter(expire_date__lt=now).delete()[0]


@contextlib.contextmanager
def alone() -> Iterator[bool]:
    """Whether this process is the one to do it; the claim ends with the block, or with the process."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", [ADVISORY_LOCK])
            (mine,) = cursor.fetchone() or (False,)
            try:
                yield bool(mine)
            finally:
                if mine:
                    cursor.execute("SELECT pg_advisory_unlock(%s)", [ADVISORY_LOCK])
        return
    with open(settings.SLIPWAY_PLATFORM_DATA / "sweep.lock", "a", opener=_closed_to_others) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def _closed_to_others(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


@dataclass
class _Task:
    every: float
    act: Callable[[datetime], int]
    due: float = float("-inf")


class Schedule:
    """Runs each task when its time has come, in the process that holds the lock."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._looked: tuple[float, datetime] | None = None
        self._tasks = [
            _Task(SWEEP_SECONDS, resend_containers),
            _Task(SWEEP_SECONDS, resend_jobs),
            _Task(SESSIONS_SECONDS, clear_sessions),
        ]

    def run_due(self) -> None:
        now = self._clock()
        due = [task for task in self._tasks if task.due <= now]
        if not due:
            return
        jump = self._jump_of_the_clock(now)
        with alone() as mine:
            mine = mine and not crash.is_without("sweep")
            if mine and abs(jump) > CLOCK_JUMP:
                shift_deadlines(jump)
            for task in due:
                task.due = now + task.every
                if mine:
                    task.act(timezone.now())

    def _jump_of_the_clock(self, now: float) -> timedelta:
        """By how much the time of day went another way than time itself since the last look."""
        wall = timezone.now()
        before, self._looked = self._looked, (now, wall)
        return timedelta() if before is None else (wall - before[1]) - timedelta(seconds=now - before[0])
