"""What jobs on images tell: how far they are, and what came of them."""

from __future__ import annotations

import time
from collections.abc import Callable

from workers.engine.host import Emit
from workers.engine.importing import Imported
from workers.engine.logwriting import LogWriter
from workers.messages import BakeImage, ImageImported, ImportImage, JobProgressed
from workers.tasks.jobs import Check

PROGRESS_EVERY = 0.5
"""Seconds: reports go through the journal, and nobody reads faster."""


def tell(command: ImportImage | BakeImage, imported: Imported, emit: Emit, report: Reporter) -> None:
    """Say what came in."""
    for warning in imported.warnings:
        emit(JobProgressed(command.job, warning))
        report.log.write(warning, "stderr")
    emit(
        ImageImported(
            job=command.job,
            scope=command.scope,
            image_id=imported.image_id,
            manifest_digest=imported.manifest_digest,
            config=imported.config,
            layers=imported.layers,
            references=imported.references,
        )
    )


class Reporter:
    """``progress`` of the engine as ``JobProgressed``, thinned out; ``check`` may end the work at each.

    The job's log has each detail once, unless it is ``quiet`` because the programs at work say more.
    """

    def __init__(
        self,
        job: str,
        emit: Emit,
        check: Check,
        log: LogWriter,
        clock: Callable[[], float] = time.monotonic,
        *,
        quiet: bool = False,
    ) -> None:
        self._job, self._emit, self._clock = job, emit, clock
        self.check, self.log = check, log
        self._quiet = quiet
        self._last = float("-inf")
        self._logged = ""

    def __call__(self, detail: str, done: int = 0, total: int = 0) -> None:
        self.check()
        if detail != self._logged and not self._quiet:
            self._logged = detail
            self.log.write(detail)
        now = self._clock()
        if now - self._last >= PROGRESS_EVERY:
            self._last = now
            self._emit(JobProgressed(self._job, detail, done, total))
