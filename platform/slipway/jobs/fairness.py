"""Who is next for a slot: weighted fair order between teams, as arithmetic.

Start-time fair queueing with every job of the same size. A team's job begins, in the queue's own time, when
the team's last one ended, and ends ``UNIT / weight`` later; the job that begins first is next, of several the
one that has waited longest. The queue's time is the beginning of the last job let go. A team that was away
begins at that time: it has saved up nothing, and it is not behind.

So a team with weight *w* among teams with weights *W* in all gets *w/W* of the slots while it has work, and
its next job never waits for more than ``ceil(v / w)`` jobs of another team with weight *v*, plus one.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

UNIT = 1 << 20
"""What a job of a team with weight 1 takes of the queue's time."""
WEIGHT_MAX = 100


@dataclass(frozen=True)
class Entry:
    """A job that runs in a slot, or waits for one."""

    job: Any
    team: Any
    project: Any
    lock: str = ""
    """Of a project's jobs with the same lock one runs at a time."""


@dataclass(frozen=True)
class Grant:
    """A job's turn."""

    entry: Entry
    began: int
    ends: int


Line = tuple[Any, Any, str]
"""Team, project and lock: of the jobs that share them the first is always the next."""


class Queue:
    """A node's queue at one moment. ``waiting`` and ``running`` are in the order in which they came."""

    def __init__(
        self,
        slots: int,
        waiting: Iterable[Entry] = (),
        running: Iterable[Entry] = (),
        *,
        clock: int = 0,
        ends: Mapping[Any, int] | None = None,
        weights: Mapping[Any, int] | None = None,
        room: Mapping[Any, int | None] | None = None,
    ) -> None:
        """``ends``: team → when its last job ended, in the queue's time. ``weights``: 1 where it is missing.
        ``room``: project → how many more of its jobs may run; None or missing: any number."""
        self.slots, self.clock = slots, clock
        self.running: dict[Any, Entry] = {entry.job: entry for entry in running}
        self._ends, self._weights, self._room = dict(ends or {}), dict(weights or {}), dict(room or {})
        self._held = Counter((entry.project, entry.lock) for entry in self.running.values() if entry.lock)
        self._lines: dict[Line, deque[tuple[int, Entry]]] = {}
        self._count = 0
        for entry in waiting:
            self.add(entry)

    def add(self, entry: Entry) -> None:
        """It waits, behind all others."""
        line = (entry.team, entry.project, entry.lock)
        self._lines.setdefault(line, deque()).append((self._count, entry))
        self._count += 1

    @property
    def waiting(self) -> list[Entry]:
        numbered = (each for line in self._lines.values() for each in line)
        return [entry for _, entry in sorted(numbered, key=lambda each: each[0])]

    def grant(self) -> Grant | None:
        """Let the next job go, if one may; it runs then."""
        if len(self.running) >= self.slots:
            return None
        turns = (
            (max(self._ends.get(line[0], 0), self.clock), jobs[0][0], line)
            for line, jobs in self._lines.items()
            if not self._obstacle(line[1], line[2])
        )
        began, _, line = min(turns, key=lambda turn: turn[:2], default=(0, 0, None))
        if line is None:
            return None
        entry = self._lines[line].popleft()[1]
        if not self._lines[line]:
            del self._lines[line]
        return self._let_go(entry, began)

    def _obstacle(self, project: Any, lock: str) -> str:
        room = self._room.get(project)
        if room is not None and room <= 0:
            return "quota"
        return "lock" if lock and self._held[project, lock] else ""

    def _let_go(self, entry: Entry, began: int) -> Grant:
        grant = Grant(entry, began, began + UNIT // self._weights.get(entry.team, 1))
        self.clock, self._ends[entry.team] = began, grant.ends
        self.running[entry.job] = entry
        self._take(entry, 1)
        return grant

    def end(self, entry: Entry) -> None:
        """The running job has ended."""
        del self.running[entry.job]
        self._take(entry, -1)

    def _take(self, entry: Entry, amount: int) -> None:
        room = self._room.get(entry.project)
        if room is not None:
            self._room[entry.project] = room - amount
        if entry.lock:
            self._held[entry.project, entry.lock] += amount

    def reason(self, entry: Entry) -> str:
        """Why the waiting job does not run this moment: ``quota``, ``lock`` or ``slot``."""
        return self._obstacle(entry.project, entry.lock) or "slot"


def order(queue: Queue) -> list[Any]:
    """The waiting jobs in the order in which they will begin if those that run end as they began.

    While no quota and no lock holds anybody up, it is the order whichever ends first. ``queue`` is used up.
    What can never run comes last.
    """
    result: list[Any] = []
    while True:
        grant = queue.grant()
        if grant is not None:
            result.append(grant.entry.job)
        elif queue.running and queue.slots > 0:
            queue.end(next(iter(queue.running.values())))
        else:
            return result + [entry.job for entry in queue.waiting]
