"""When what is done again and again is due, and that one process at a time does it.

The quick tasks take turns with the events in the observer's own thread. What deletes blobs, and the slow
tasks that look through stores, repositories and ledgers, may take minutes or not be answered at all: each of
the two has a thread, a connection and a claim of its own, so that nothing waits for them, nor they for each
other.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum

import structlog
from django.conf import settings
from django.db import InterfaceError, OperationalError, connection, connections
from django.utils import timezone

from slipway import keeping, sweep
from slipway.builds.services import drop_old, forget_contexts, forget_outputs
from slipway.drift import reconcile
from slipway.jobs.idempotency import forget_old
from workers import crash

log = structlog.get_logger(__name__)

SWEEP_SECONDS = 5.0
LEASES_SECONDS = 3.0
"""With a build's lease of ten a silent worker is noticed within fifteen, also on a busy machine."""
REGISTRY_SECONDS = 15.0
SESSIONS_SECONDS = 3600.0
LOGS_SECONDS = 60.0
RECONCILE_SECONDS = 6 * 3600.0
LOOK_SECONDS = 1.0
LEAVE_SECONDS = 1.0
"""How long a slow task at work is waited for at the end; it may be killed at any instant."""
CLOCK_JUMP = timedelta(seconds=30)
"""Less is what clocks are corrected by, and what a slow database takes."""
ADVISORY_LOCK = 0x51_1F_5A_1E
"""Any number that no other program using the database takes, nor the two after it."""

Act = Callable[[datetime], int]


class Lane(IntEnum):
    """What is claimed together and done one after the other."""

    QUICK = 0
    REGISTRY = 1
    SLOW = 2


QUICK: Sequence[tuple[float, Act]] = (
    (SWEEP_SECONDS, sweep.resend_containers),
    (LEASES_SECONDS, sweep.resend_jobs),
    (SWEEP_SECONDS, sweep.give_up_jobs),
    (SWEEP_SECONDS, sweep.expire_jobs),
    (SWEEP_SECONDS, sweep.admit_jobs),
    (SWEEP_SECONDS, sweep.drop_projects),
    (LOGS_SECONDS, sweep.drop_logs),
    (LOGS_SECONDS, forget_contexts),
    (LOGS_SECONDS, forget_outputs),
    (LOGS_SECONDS, drop_old),
    (SESSIONS_SECONDS, sweep.clear_sessions),
    (SESSIONS_SECONDS, forget_old),
    (SESSIONS_SECONDS, sweep.forget_tags),
)
REGISTRY: Sequence[tuple[float, Act]] = ((REGISTRY_SECONDS, sweep.sweep_registry),)
SLOW: Sequence[tuple[float, Act]] = (
    (RECONCILE_SECONDS, reconcile),
    (RECONCILE_SECONDS, sweep.find_strays),
    (RECONCILE_SECONDS, keeping.apply_all),
)


@contextlib.contextmanager
def alone(lane: Lane = Lane.QUICK) -> Iterator[bool]:
    """Whether this process is the one to do it; the claim ends with the block, or with the process."""
    if connection.vendor == "postgresql":
        key = ADVISORY_LOCK + lane
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", [key])
            (mine,) = cursor.fetchone() or (False,)
            try:
                yield bool(mine)
            finally:
                if mine:
                    cursor.execute("SELECT pg_advisory_unlock(%s)", [key])
        return
    name = "sweep.lock" if lane is Lane.QUICK else f"sweep-{lane.name.lower()}.lock"
    with open(settings.SLIPWAY_PLATFORM_DATA / name, "a", opener=_closed_to_others) as file:
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
    act: Act
    due: float = float("-inf")


class Schedule:
    """Runs each task when its time has come, in the process that holds the claim."""

    def __init__(
        self,
        clock: Callable[[], float],
        tasks: Sequence[tuple[float, Act]] = QUICK,
        lane: Lane = Lane.QUICK,
    ) -> None:
        self._clock = clock
        self._lane = lane
        self._looked: tuple[float, datetime] | None = None
        self._tasks = [_Task(*each) for each in tasks]

    def run_due(self) -> None:
        """One that fails is logged and due again in its time; the others go on.

        Raise ``OperationalError``, ``InterfaceError`` when it is the database that is away.
        """
        now = self._clock()
        due = [task for task in self._tasks if task.due <= now]
        if not due:
            return
        jump = self._jump_of_the_clock(now)
        with alone(self._lane) as mine:
            mine = mine and not crash.is_without("sweep")
            if mine and self._lane is Lane.QUICK and abs(jump) > CLOCK_JUMP:
                sweep.shift_deadlines(jump)
            for task in due:
                task.due = now + task.every
                if mine:
                    _run(task)

    def _jump_of_the_clock(self, now: float) -> timedelta:
        """By how much the time of day went another way than time itself since the last look."""
        wall = timezone.now()
        before, self._looked = self._looked, (now, wall)
        return timedelta() if before is None else (wall - before[1]) - timedelta(seconds=now - before[0])


def _run(task: _Task) -> None:
    try:
        task.act(timezone.now())
    except (OperationalError, InterfaceError):
        raise
    except Exception:
        log.exception("task_failed", task=task.act.__name__, again_in=task.every)


class Background:
    """A schedule in a thread of its own, from ``start`` to ``stop``."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._stopping = threading.Event()
        # A store that does not answer must not hold up the process's end.
        self._thread = threading.Thread(target=self._run, daemon=True)

    @classmethod
    def all(cls) -> list[Background]:
        lanes = {Lane.REGISTRY: REGISTRY, Lane.SLOW: SLOW}
        return [cls(Schedule(time.monotonic, tasks, lane)) for lane, tasks in lanes.items()]

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(LEAVE_SECONDS)

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                try:
                    self._schedule.run_due()
                except (OperationalError, InterfaceError, OSError) as error:
                    log.warning("tasks_wait", error=str(error))
                    connection.close()
                self._stopping.wait(LOOK_SECONDS)
        finally:
            connections.close_all()
