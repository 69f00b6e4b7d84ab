"""Long jobs of this node: taken over from the broker at once, done a few at a time, in order, exactly known.

A job's command is on disk before Celery's task ends; from then on the broker is out of it, and so are its
four threads: container starts never wait for an import. A job that runs says so every few seconds, and asks
whether it was cancelled whenever it reports how far it is. A worker that dies does its jobs again from their
beginning when it is back. Of a job that has ended its outcome is kept for a while: a command that comes
again is answered with it and changes nothing.

Of a job's attempts the highest wins: one that runs is ended where it next asks, nothing more is told of it,
and only then does the next one begin. Once a result is told it stands, whichever attempt comes.
"""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from workers import crash
from workers.engine.host import Emit
from workers.engine.logwriting import LogWriter
from workers.engine.places import Places
from workers.errors import SlipwayError
from workers.messages import (
    BuildFinished,
    BuildImage,
    Event,
    JobCancelled,
    JobFailed,
    JobProgressed,
    JobStarted,
    JobSucceeded,
    PullImage,
    PushImage,
    encode,
)
from workers.tasks.failures import failure_of
from workers.tasks.jobfiles import JobCommand, JobFiles

SLOTS = 2
"""Jobs at once. Both cores of a small node stay usable for containers."""
TRANSFERS = 3
"""Pulls and pushes at once, beside the others: they mostly wait for somebody else's network."""
BUILDS = 2
"""Builds at once, beside the others."""
KEPT = 7 * 24 * 3600.0
"""Seconds an outcome is kept: far longer than any command for the job could still come."""
LOG_KEPT = 30 * 24 * 3600.0
"""Seconds what a job wrote is kept after its end."""
HEARTBEAT = 5.0
"""Seconds a running job is silent at most; the platform's lease on it is several times as long."""
PAUSE = 5.0
"""Seconds between attempts to journal the end of a job."""

_Outcome = JobSucceeded | JobFailed | JobCancelled
_Lane = queue.SimpleQueue[JobCommand | None]
log = structlog.get_logger(__name__)


class Cancelled(Exception):
    """Somebody wants the job ended; raised where it can be left without harm."""


class Superseded(Cancelled):
    """A higher attempt wants its place."""


Check = Callable[[], None]
"""Raises ``Cancelled``. Called until the job's result stands, never after."""


@dataclass(frozen=True)
class Work:
    """What jobs do."""

    perform: Callable[[JobCommand, Emit, Check, LogWriter], None]
    """Repeatable from its beginning. Raises what made it fail. What it writes people read as it comes."""
    tidy: Callable[[JobCommand], None]
    """Drop what was only there for the job, however it ended. Repeatable."""


class Jobs:
    """``submit`` from any thread of one process; ``resume`` once, first."""

    def __init__(
        self,
        places: Places,
        emit: Emit,
        work: Work,
        *,
        slots: int = SLOTS,
        transfers: int = TRANSFERS,
        builds: int = BUILDS,
    ) -> None:
        self._places, self._emit, self._work = places, emit, work
        self._files = JobFiles(places)
        self._here: _Lane = queue.SimpleQueue()
        self._transfers: _Lane = queue.SimpleQueue()
        self._builds: _Lane = queue.SimpleQueue()
        self._held: dict[str, JobCommand] = {}
        """Job → its highest attempt, of those taken and not ended."""
        self._settled: set[str] = set()
        """Those whose result is told, or about to be: no attempt comes after."""
        self._running: dict[str, JobProgressed] = {}
        """Job → what it last said."""
        self._cancelled: set[str] = set()
        self._lock = threading.Lock()
        self._closing = threading.Event()
        # Daemons: a worker that stops does not wait for a job; it is begun again.
        lanes = [self._here] * slots + [self._transfers] * transfers + [self._builds] * builds
        self._threads = [
            threading.Thread(target=self._serve, args=(lane,), name=f"job-{number}", daemon=True)
            for number, lane in enumerate(lanes)
        ]
        self._threads.append(threading.Thread(target=self._beat, name="job-heartbeat", daemon=True))
        for thread in self._threads:
            thread.start()

    def resume(self) -> None:
        """Take up what an earlier worker left, and forget what nobody will ask for."""
        for path in sorted(self._places.jobs.iterdir(), key=lambda each: each.stat().st_mtime_ns):
            if path.name.startswith("."):
                path.unlink()  # half-written by a worker that died
                continue
            command, outcome = self._files.load(path.name)
            if command is None and outcome is None:
                path.unlink()  # it is sent again
            elif command is not None and outcome is not None:
                self._finish(command, outcome)
            elif command is not None:
                log.info("job_resumed", job=command.job)
                self._take(command)
        self._forget_old()

    def submit(self, command: JobCommand) -> None:
        """The job will be done, whatever dies; of its attempts the highest. Raise ``NoSpace``."""
        with self._lock:
            held = self._held.get(command.job)
            if held is not None and not self._may_supersede(command, held):
                return
            outcome = self._files.load(command.job)[1]
            if outcome is None:
                self._files.store(command.job, command, None)
                self._held[command.job] = command
        crash.point("job.accepted")
        if outcome is not None:
            self._emit(outcome)
        elif held is None:
            self._lane_of(command).put(command)
        else:
            log.info("job_superseded", job=command.job, attempt=attempt_of(command))

    def cancel(self, job: str) -> None:
        """The job will end without a result, or has ended: the event of its end tells. Raise ``NoSpace``.

        One that has not come yet will never begin.
        """
        with self._lock:
            command, outcome = self._files.load(job)
            if outcome is None:
                self._cancelled.add(job)
                if job in self._running:
                    return  # it asks soon
                outcome = JobCancelled(job)
                self._settled.add(job)
            self._emit(outcome)
            if command is None:
                self._files.store(job, None, outcome)
                self._settled.discard(job)
                return
        self._finish(command, outcome)

    def close(self, timeout: float) -> None:
        """Begin no further job; wait for those that run, but not long: they are begun again."""
        self._closing.set()
        for _ in self._threads:
            self._here.put(None)
            self._transfers.put(None)
            self._builds.put(None)
        for thread in self._threads:
            thread.join(timeout)

    def _take(self, command: JobCommand) -> None:
        with self._lock:
            self._held[command.job] = command
        self._lane_of(command).put(command)

    def _lane_of(self, command: JobCommand) -> _Lane:
        if isinstance(command, BuildImage):
            return self._builds
        return self._transfers if isinstance(command, PullImage | PushImage) else self._here

    def _serve(self, lane: _Lane) -> None:
        while (command := lane.get()) is not None and not self._closing.is_set():
            following = False
            while (attempt := self._begin(command.job)) is not None:
                self._run(attempt, following=following)
                following = self._is_superseded(attempt)
                if not following:
                    break

    def _begin(self, job: str) -> JobCommand | None:
        """Its highest attempt; None when it was cancelled while it waited."""
        with self._lock:
            command, outcome = self._files.load(job)
            if command is None or outcome is not None:
                return None
            self._running[job] = JobProgressed(job, "Begun")
            return self._held[job]

    def _run(self, command: JobCommand, *, following: bool) -> None:
        try:
            self._do(command, following=following)
        except Exception:
            # It stays on disk and is taken up at the next start, as after a kill.
            log.exception("job_not_finished", job=command.job)
        finally:
            with self._lock:
                self._running.pop(command.job, None)

    def _may_supersede(self, command: JobCommand, held: JobCommand) -> bool:
        return attempt_of(command) > attempt_of(held) and command.job not in self._settled

    def _is_superseded(self, command: JobCommand) -> bool:
        held = self._held.get(command.job)
        return held is not None and attempt_of(held) > attempt_of(command)

    def _settle(self, command: JobCommand) -> bool:
        """From now on no attempt takes its place; False when one has."""
        with self._lock:
            if self._is_superseded(command):
                return False
            self._settled.add(command.job)
            return True

    def _beat(self) -> None:
        """Say of each running job that it runs."""
        while not self._closing.wait(HEARTBEAT):
            with self._lock:
                running = list(self._running.values())
            for said in running:
                with contextlib.suppress(SlipwayError):  # no space: `_deliver` tells of it
                    self._emit(said)

    def _note(self, command: JobCommand, event: Event) -> None:
        """Raise ``Superseded``: what another attempt has taken over is told by that one."""
        if isinstance(event, BuildFinished):
            current = self._settle(command)
        else:
            current = not self._is_superseded(command)
        if not current:
            raise Superseded(command.job)
        self._emit(event)
        if isinstance(event, JobProgressed):
            with self._lock:
                if event.job in self._running:
                    self._running[event.job] = event

    def _check(self, command: JobCommand) -> None:
        if command.job in self._cancelled:
            raise Cancelled(command.job)
        if self._is_superseded(command):
            raise Superseded(command.job)

    def _do(self, command: JobCommand, *, following: bool) -> None:
        directory = self._places.job_log(command.job)
        begun_before = directory.exists() and not following
        with LogWriter(directory) as written:
            if begun_before:
                written.write("The node's worker was started anew; the job begins again.", "stderr")
            outcome = self._attempt(command, written)
            if not self._settle(command):
                attempt = attempt_of(self._held[command.job])
                written.write(f"Ended, it was silent for too long: attempt {attempt} begins.", "stderr")
                return
            written.write(*_last_words(outcome))
        crash.point("job.before_outcome")
        if self._deliver(outcome):
            crash.point("job.after_outcome")
            self._finish(command, outcome)
            self._forget_old()

    def _attempt(self, command: JobCommand, written: LogWriter) -> _Outcome:
        try:
            self._check(command)
            self._emit(JobStarted(command.job))
            self._work.perform(
                command,
                lambda event: self._note(command, event),
                lambda: self._check(command),
                written,
            )
            return JobSucceeded(command.job)
        except Cancelled:
            return JobCancelled(command.job)
        except Exception as error:  # noqa: BLE001 - whatever it was, the job must end
            return JobFailed(command.job, failure_of(error, doing=type(command).__name__))

    def _deliver(self, outcome: Event) -> bool:
        """Journal it, as soon as there is space for it; False when the worker stops first."""
        while True:
            try:
                self._emit(outcome)
                return True
            except SlipwayError as error:
                log.error("job_outcome_not_journaled", error=str(error), outcome=encode(outcome))
            if self._closing.wait(PAUSE):
                return False

    def _finish(self, command: JobCommand, outcome: Event) -> None:
        """In this order each step may be the last one a dying worker takes."""
        self._files.store(command.job, command, outcome)
        crash.point("job.before_tidy")
        self._work.tidy(command)
        crash.point("job.after_tidy")
        with self._lock:  # whoever finds the job ended finds it given back as well
            self._files.store(command.job, None, outcome)
            self._held.pop(command.job, None)
            self._settled.discard(command.job)
            self._cancelled.discard(command.job)

    def _forget_old(self) -> None:
        limit = time.time() - KEPT
        with os.scandir(self._places.jobs) as entries:
            old = [Path(entry.path) for entry in entries if entry.stat().st_mtime < limit]
        for path in old:
            with contextlib.suppress(FileNotFoundError):
                if self._files.load(path.name)[0] is None:
                    path.unlink()
        limit = time.time() - LOG_KEPT
        with os.scandir(self._places.job_logs) as entries:
            old = [Path(entry.path) for entry in entries if entry.stat().st_mtime < limit]
        for path in old:
            if not self._places.job(path.name).exists():
                shutil.rmtree(path, ignore_errors=True)


def attempt_of(command: JobCommand) -> int:
    return command.attempt if isinstance(command, BuildImage) else 1


def _last_words(outcome: _Outcome) -> tuple[str, str]:
    """A line of its log, and the stream it is on."""
    match outcome:
        case JobSucceeded():
            return "Done.", "stdout"
        case JobCancelled():
            return "Cancelled.", "stderr"
        case JobFailed():
            return f"Failed: {outcome.cause.message}", "stderr"
