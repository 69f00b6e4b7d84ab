"""The steps of a running build as people see them: what changed is told at most twice a second.

Each telling is short however many steps there are and however long their text is.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from workers.messages import StepFacts

EVERY = 0.5
_OPEN = ("waiting", "running")

Clean = Callable[[str], str]
"""Takes secrets out."""
TEXT_MAX = 4000
"""Of a name or reason; a heredoc may be a name's larger part."""
TOLD_AT_ONCE = 200
TOLD_BYTES = 128 << 10


@dataclass(frozen=True)
class Told:
    """A part of what changed."""

    steps: tuple[StepFacts, ...]
    total: int
    """How many steps there are."""
    fresh: bool
    """The first telling of all."""


Note = Callable[[str], None]
"""Takes how far a step is."""


def silent(text: str) -> None:
    """For whoever does not ask."""


Tell = Callable[[Told], None]


def _as_it_is(text: str) -> str:
    return text


class Progress:
    """Safe to share between threads. Whatever it tells went through ``clean``."""

    def __init__(self, tell: Tell, clean: Clean = _as_it_is, clock: Callable[[], float] = time.time) -> None:
        self._tell, self._clean, self._clock = tell, clean, clock
        self._steps: dict[int, StepFacts] = {}
        self._lock = threading.Lock()
        self._told = 0.0
        self._changed: dict[int, None] = {}
        self._fresh = True

    def add(self, name: str, stage: str = "", state: str = "waiting") -> int:
        """A line more; its id."""
        name = self._clean(name)
        with self._lock:
            number = len(self._steps) + 1
            self._steps[number] = StepFacts(number, stage, name[:TEXT_MAX], state)
            self._changed[number] = None
            return number

    def begin(self, step: int) -> None:
        self._change(step, state="running", started_at=self._clock())

    def note(self, step: int, *, progress: str | None = None, reason: str | None = None) -> None:
        with self._lock:
            facts = self._steps[step]
            self._steps[step] = replace(
                facts,
                progress=facts.progress if progress is None else self._clean(progress),
                reason=facts.reason if reason is None else self._clean(reason)[:TEXT_MAX],
            )
            self._changed[step] = None
        self.flush()

    def end(self, step: int, state: str = "done", reason: str | None = None) -> None:
        facts = self._steps[step]
        now = self._clock()
        kept = facts.reason if reason is None else self._clean(reason)
        self._change(
            step, state=state, ended_at=now, started_at=facts.started_at or now, reason=kept[:TEXT_MAX]
        )

    @contextmanager
    def line(self, name: str) -> Iterator[Note]:
        """A line more, which runs; how it ends after an error is for whoever catches that to say."""
        number = self.add(name)
        self.begin(number)
        yield lambda text: self.note(number, progress=text)
        self.end(number)

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
            self._changed[step] = None
        self.flush()

    def flush(self, *, now: bool = False) -> None:
        """Tell, if there is something to tell and it is time, or ``now`` is."""
        with self._lock:
            at = time.monotonic()
            if not self._changed or (not now and at - self._told < EVERY):
                return
            self._told = at
            changed = [self._steps[number] for number in sorted(self._changed)]
            self._changed.clear()
            for part in _parts(changed):
                self._tell(Told(part, len(self._steps), self._fresh))
                self._fresh = False

    @property
    def steps(self) -> tuple[StepFacts, ...]:
        with self._lock:
            return tuple(self._steps.values())


def _parts(steps: Iterable[StepFacts]) -> Iterator[tuple[StepFacts, ...]]:
    part: list[StepFacts] = []
    size = 0
    for facts in steps:
        size += len((facts.name + facts.reason).encode(errors="replace")) + 200
        if part and (len(part) == TOLD_AT_ONCE or size > TOLD_BYTES):
            yield tuple(part)
            part, size = [], 0
        part.append(facts)
    if part:
        yield tuple(part)


def shown_bytes(done: int, total: int) -> str:
    """``40 of 120 MB``; without a total what has come."""
    if total <= 0:
        return f"{done / 1e6:.1f} MB"
    return (
        f"{done / 1e6:.1f} of {total / 1e6:.1f} MB"
        if total < 10e6
        else f"{done // 1_000_000} of {total // 1_000_000} MB"
    )
