"""A node as its jobs see it: a directory, what jobs do, and what is told of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from workers.engine import logs
from workers.engine.host import Emit
from workers.engine.logwriting import LogWriter
from workers.engine.places import Places
from workers.errors import NoSpace
from workers.messages import Event
from workers.tasks.jobfiles import JobCommand
from workers.tasks.jobs import Check, Jobs, Work


@dataclass
class JobNode:
    """A worker's life on a data directory; ``perform`` is what jobs do in it."""

    places: Places
    perform: Callable[[JobCommand, Emit], None] = lambda command, emit: None
    slots: int = 2
    events: list[Event] = field(default_factory=list)
    tidied: list[str] = field(default_factory=list)
    tidy_fails: bool = False
    failed_tidying: threading.Event = field(default_factory=threading.Event)
    journal_is_full: bool = False
    lives: list[Jobs] = field(default_factory=list)
    check: Check = lambda: None

    def emit(self, event: Event) -> None:
        if self.journal_is_full:
            raise NoSpace("no space for the journal")
        self.events.append(event)

    def tidy(self, command: JobCommand) -> None:
        if self.tidy_fails:
            self.failed_tidying.set()
            raise OSError("killed here")
        self.tidied.append(command.job)

    def _perform(self, command: JobCommand, emit: Emit, check: Check, log: LogWriter) -> None:
        self.check, self.log = check, log
        self.perform(command, emit)

    def written(self, job: str) -> list[str]:
        """Its log."""
        return [entry.text for entry in logs.read(self.places.job_log(job), 0).entries]

    def start(self) -> Jobs:
        work = Work(perform=self._perform, tidy=self.tidy)
        jobs = Jobs(self.places, self.emit, work, slots=self.slots)
        jobs.resume()
        self.lives.append(jobs)
        return jobs

    def ended(self, job: str) -> bool:
        """Its outcome is told, it is tidied up, and nothing but the outcome is kept."""
        path = self.places.job(job)
        return path.exists() and '"sealed": null' in path.read_text()

    @classmethod
    def living(cls, directory: Path) -> Iterator[JobNode]:
        """One for a test; its workers are closed after it."""
        for name in ("jobs", "job-logs"):
            (directory / "node" / name).mkdir(parents=True)
        node = cls(Places(directory, directory / "run"))
        yield node
        for jobs in node.lives:
            jobs.close(timeout=10)
