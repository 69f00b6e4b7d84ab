"""The steps of a running build as people see them, told at most twice a second."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace

from workers.messages import StepFacts

EVERY = 0.5
_OPEN = ("waiting", "running")

Tell = Callable[[tuple[StepFacts, ...]], None]
Clean = Callable[[str], str]
"""Takes secrets out."""


def _as_it_is(text: str) -> str:
    return text


class Progress:
    """Safe to share between threads. Whatever it tells went through ``clean``."""

    def __init__(self, tell: Tell, clean: Clean = _as_it_is, clock: Callable[[], float] = time.time) -> None:
        self._tell, self._clean, self._clock = tell, clean, clock
        self._steps: dict[int, StepFacts] = {}
        self._lock = threading.Lock()
        self._told = 0.0
        self._changed = False

    def add(self, name: str, stage: str = "", state: str = "waiting") -> int:
        """A line more; its id."""
        name = self._clean(name)
        with self._lock:
            number = len(self._steps) + 1
            self._steps[number] = StepFacts(number, stage, name, state)
            self._changed = True
            return number

    def begin(self, step: int) -> None:
        self._change(step, state="running", started_at=self._clock())

    def note(self, step: int, *, progress: str | None = None, reason: str | None = None) -> None:
        with self._lock:
            facts = self._steps[step]
            self._steps[step] = replace(
                facts,
                progress=facts.progress if progress is None else self._clean(progress),
                reason=facts.reason if reason is None else self._clean(reason),
            )
            self._changed = True
        self.flush()

    def end(self, step: int, state: str = "done", reason: str | None = None) -> None:
        facts = self._steps[step]
        now = self._clock()
        kept = facts.reason if reason is None else self._clean(reason)
        self._change(step, state=state, ended_at=now, started_at=facts.started_at or now, reason=kept)

    def abandon(self, *, cancelled: bool) -> None:
        """What waits is cancelled; so is what runs, unless it is what failed."""
        failed = any(facts.state == "failed" for facts in self.steps)
        for facts in self.steps:
            if facts.state in _OPEN:
                ended = cancelled or failed or facts.state == "waiting"
                self.end(facts.id, "cancelled" if ended else "failed")

    def _change(self, step: int, **fields: object) -> None:
        with self._lock:
            self._steps[step] = replace(self._steps[step], **fields)  # type: ignore[arg-type]
            self._changed = True
        self.flush()

    def flush(self, *, now: bool = False) -> None:
        """Tell, if there is something to tell and it is time, or ``now`` is."""
        with self._lock:
            at = time.monotonic()
            if not self._changed or (not now and at - self._told < EVERY):
                return
            self._told, self._changed = at, False
            steps = tuple(self._steps.values())
            self._tell(steps)

    @property
    def steps(self) -> tuple[StepFacts, ...]:
        with self._lock:
            return tuple(self._steps.values())
