"""From what an engine's work says to events and to the job's log."""

from __future__ import annotations

import time
from collections.abc import Callable

from workers.engine.host import Emit
from workers.engine.logwriting import LogWriter
from workers.messages import JobProgressed
from workers.tasks.jobs import Check

PROGRESS_EVERY = 0.5
"""Seconds: reports go through the journal, and nobody reads faster."""


class Reporter:
    """``progress`` of the engine as ``JobProgressed``, thinned out, and in the job's log, each detail once.

    ``check`` may end the work at each.
    """

    def __init__(
        self,
        job: str,
        emit: Emit,
        check: Check,
        log: LogWriter,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._job, self._emit, self._clock = job, emit, clock
        self.check, self.log = check, log
        self._last = float("-inf")
        self._logged = ""

    def __call__(self, detail: str, done: int = 0, total: int = 0) -> None:
        self.check()
        if detail != self._logged:
            self._logged = detail
            self.log.write(detail)
        now = self._clock()
        if now - self._last >= PROGRESS_EVERY:
            self._last = now
            self._emit(JobProgressed(self._job, detail, done, total))
