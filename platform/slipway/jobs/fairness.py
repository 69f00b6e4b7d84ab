"""Who is next for a slot: weighted fair order between teams, as arithmetic.

Start-time fair queueing with every job of the same size. A team's job begins, in the queue's own time, when
the team's last one ended, and ends ``UNIT / weight`` later; the job that begins first is next, of several the
one that has waited longest. The queue's time is the beginning of the last job let go. A team that was away
begins at that time: it has saved up nothing, and it is not behind.

So a team with weight *w* among teams with weights *W* in all gets *w/W* of the slots while it has work, and
its next job never waits for more than ``ceil(v / w)`` jobs of another team with weight *v*, plus one.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
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


@dataclass
class Queue:
    """A node's queue at one moment. ``waiting`` and ``running`` are in the order in which they came."""

    slots: int
    clock: int = 0
    waiting: list[Entry] = field(default_factory=list)
    running: list[Entry] = field(default_factory=list)
    ends: dict[Hashable, int] = field(default_factory=dict)
    """Team → when its last job ended, in the queue's time."""
    weights: Mapping[Hashable, int] = field(default_factory=dict)
    """Team → weight; 1 where it is missing."""
    room: dict[Hashable, int | None] = field(default_factory=dict)
    """Project → how many more of its jobs may run now; None or missing: any number."""

    def grant(self) -> Grant | None:
        """Let the next job go, if one may; it runs then."""
        if len(self.running) >= self.slots:
            return None
        held = {(each.project, each.lock) for each in self.running if each.lock}
        heads: dict[Hashable, tuple[int, int]] = {}
        for number, entry in enumerate(self.waiting):
            if entry.team not in heads and self._may_run(entry, held):
                heads[entry.team] = (max(self.ends.get(entry.team, 0), self.clock), number)
        if not heads:
            return None
        began, number = min(heads.values())
        entry = self.waiting.pop(number)
        return self._let_go(entry, began)

    def _may_run(self, entry: Entry, held: set[tuple[Hashable, str]]) -> bool:
        room = self.room.get(entry.project)
        return (room is None or room > 0) and (entry.project, entry.lock) not in held

    def _let_go(self, entry: Entry, began: int) -> Grant:
        grant = Grant(entry, began, began + UNIT // self.weights.get(entry.team, 1))
        self.clock, self.ends[entry.team] = began, grant.ends
        self.running.append(entry)
        self._take(entry, 1)
        return grant

    def end(self, entry: Entry) -> None:
        """The running job has ended."""
        self.running.remove(entry)
        self._take(entry, -1)

    def _take(self, entry: Entry, amount: int) -> None:
        room = self.room.get(entry.project)
        if room is not None:
            self.room[entry.project] = room - amount

    def reason(self, entry: Entry) -> str:
        """Why the waiting job does not run this moment: ``quota``, ``lock`` or ``slot``."""
        room = self.room.get(entry.project)
        if room is not None and room <= 0:
            return "quota"
        if entry.lock and any(
            (each.project, each.lock) == (entry.project, entry.lock) for each in self.running
        ):
            return "lock"
        return "slot"


def order(queue: Queue) -> list[Hashable]:
    """The waiting jobs in the order in which they will begin if those that run end as they began.

    While no quota and no lock holds anybody up, it is the order whichever ends first. ``queue`` is used up.
    What can never run comes last.
    """
    result: list[Hashable] = []
    while queue.waiting:
        grant = queue.grant()
        if grant is not None:
            result.append(grant.entry.job)
        elif queue.running and queue.slots > 0:
            queue.end(queue.running[0])
        else:
            break
    return result + [entry.job for entry in queue.waiting]
