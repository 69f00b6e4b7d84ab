"""The kill matrix: one wish of a user, one process killed meanwhile, and what must be true afterwards.

A plan follows from its seed alone: the same seed wishes the same, kills the same, at the same point or after
the same delay. Trials run side by side, so each also suffers what the others kill.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

from tests import traces
from tests.rest import Problem, Rest, Unreachable, until
from tests.stacks import RunningStack
from tests.wishes import OPERATIONS, Wish, tried

VICTIMS = ("web", "observer", "worker", "agent", "conmon", "runtime", "redis")
LANES = 4
COMEBACK_SECONDS = 40
_DISPATCH = ("dispatch.before_send", "dispatch.after_send")
_EVENT = ("journal.before_commit", "journal.after_append", "engine.after_event")
_TASK = ("task.received", "task.before_ack", *_EVENT)
_CLEAN_UP = ("settle.before_clean_up", "clean_up.after_processes", "clean_up.after_unmount")
_SHIP = ("ship.before_add", "ship.after_add")
_STEPS = ("intent", "lease", "bundle", "mount", "create", "record", "attach", "start")
POINTS: dict[tuple[str, str], tuple[str, ...]] = {
    **{(operation, "web"): _DISPATCH for operation in OPERATIONS if operation != "create"},
    **{
        (operation, "observer"): ("observer.before_commit", "observer.after_commit")
        for operation in OPERATIONS
        if operation != "create"
    },
    ("start", "worker"): (*_TASK, *(f"run.after_{step}" for step in _STEPS), "run.before_shim"),
    ("stop", "worker"): (*_TASK, "stop.before_signal", "stop.after_end"),
    ("remove", "worker"): (*_TASK, *_CLEAN_UP, "remove.before_snapshot", "remove.after_snapshot"),
    ("import", "worker"): (
        *("job.accepted", "import.before_names", "import.before_grant", "import.after_grant"),
        *("job.before_outcome", "job.after_outcome", "job.before_tidy", "job.after_tidy"),
    ),
    ("cancel", "worker"): ("job.accepted", "job.before_outcome", "job.after_outcome", "job.after_tidy"),
    ("start", "agent"): (*_SHIP, *_CLEAN_UP, "agent.before_settle", "engine.after_event"),
    ("stop", "agent"): (*_SHIP, *_CLEAN_UP, "agent.before_settle"),
    ("remove", "agent"): _SHIP,
    ("import", "agent"): (*_SHIP, "upload.before_ticket"),
    ("cancel", "agent"): _SHIP,
}
_HAVE_NO_SHIM = ("create", "import", "cancel")


def is_sensible(operation: str, victim: str) -> bool:
    """There is such a process while that is done: a runtime only while a container starts."""
    if victim == "runtime":
        return operation == "start"
    return victim != "conmon" or operation not in _HAVE_NO_SHIM


PAIRS = tuple(pair for pair in product(OPERATIONS, VICTIMS) if is_sensible(*pair))


@dataclass(frozen=True)
class Plan:
    """``victim`` is empty in a control; ``point`` is empty where the time is random."""

    seed: int
    operation: str
    victim: str = ""
    point: str = ""
    delay: float = 0.0

    def __str__(self) -> str:
        moment = self.point or f"{self.delay:.3f} s"
        return f"seed {self.seed}: {self.operation} × {self.victim or 'nobody'} at {moment}"


def plan(seed: int) -> Plan:
    """Consecutive seeds go through all pairs; a point is taken three times out of four."""
    rng = random.Random(seed)
    order = list(PAIRS)
    random.Random(len(order)).shuffle(order)
    operation, victim = order[seed % len(order)]
    points = POINTS.get((operation, victim), ())
    point = rng.choice(points) if points and rng.random() < 0.75 else ""
    return Plan(seed, operation, victim, point, rng.choice((0.0, rng.uniform(0, 0.1), rng.uniform(0, 0.8))))


def control(seed: int) -> Plan:
    return Plan(seed, OPERATIONS[seed % len(OPERATIONS)])


@dataclass
class Matrix:
    """Runs plans against one process set; ``killed`` counts those that hit somebody."""

    stack: RunningStack
    patience: float = 90
    killed: int = 0
    slowest: float = 0
    by_victim: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.crash = self.stack.run / "crash"
        self.crash.mkdir(exist_ok=True)
        self.crash.chmod(0o777)  # a process that is not root's takes tokens, too
        (self.crash / "without.back-off").touch()

    def run(self, plans: Iterable[Plan]) -> list[str]:
        """One line for each trial that went wrong, beginning with its seed."""
        with ThreadPoolExecutor(LANES) as lanes:
            return [line for line in lanes.map(self.trial, plans) if line]

    def trial(self, planned: Plan) -> str | None:
        began = time.monotonic()
        wish = Wish(self.stack, planned.operation, planned.seed, self.patience)
        try:
            wish.prepare()
            self._carry_out(planned, wish)
            left = self._check(planned, wish)
        except (AssertionError, Problem, Unreachable, OSError) as error:
            left = f"{type(error).__name__}: {error}"
        self.slowest = max(self.slowest, time.monotonic() - began)
        return f"{planned} ({wish.name}): {left}" if left else None

    def _carry_out(self, planned: Plan, wish: Wish) -> None:
        token = self.crash / planned.point if planned.point else None
        if token is not None:
            token.touch()
        with ThreadPoolExecutor(1) as killer:
            hit = killer.submit(self._kill, planned, wish) if planned.victim and token is None else None
            wish.utter()
            wish.settle(planned.victim)
            has_hit = hit.result() if hit else False
        if token is not None:
            has_hit = not token.exists()
            token.unlink(missing_ok=True)
        if has_hit:
            self.killed += 1
            self.by_victim[planned.victim] = self.by_victim.get(planned.victim, 0) + 1

    def _kill(self, planned: Plan, wish: Wish) -> bool:
        finders: dict[str, Callable[[], int | None]] = {
            "conmon": lambda: traces.shim(self.stack, wish.container),
            "runtime": lambda: traces.runtime(wish.container),
        }
        find = finders.get(planned.victim, lambda: self.stack.pid(planned.victim))
        if planned.victim != "runtime":
            time.sleep(planned.delay)  # the point in time is what the seed says
        deadline = time.monotonic() + 3
        while (pid := find()) is None:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.002)  # a runtime lives for some hundredths of a second
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return False
        return True

    def _check(self, planned: Plan, wish: Wish) -> str | None:
        """What is still there of what was done with, first as it ended, then removed."""
        if not wish.container:
            return None
        if planned.operation != "remove":
            if left := self._gone(lambda: traces.of_run(self.stack, wish.container)):
                return f"left after the end: {left}"
            wish.remove()
        if left := self._gone(lambda: traces.of_container(self.stack, wish.container)):
            return f"left after the removal: {left}"
        return None

    def _gone(self, look: Callable[[], list[str]]) -> list[str]:
        try:
            until(lambda: True if not look() else None, self.patience, "left")
        except AssertionError:
            return look()
        return []


def everybody_is_back(stack: RunningStack) -> None:
    rest = Rest(stack.url, stack.token, stack.project)
    for name in ("web", "observer", "worker", "agent", "redis"):
        until(lambda name=name: stack.pid(name), COMEBACK_SECONDS, f"{name} did not come back")
    until(lambda: tried(lambda: rest.call("GET", "/me")), COMEBACK_SECONDS, "no answer")


def unfinished(stack: RunningStack) -> list[str]:
    """Rows that are not where they can stay: jobs that have not ended, wishes without an answer."""
    rest = Rest(stack.url, stack.token, stack.project)
    jobs = rest.call("GET", f"/projects/{stack.project}/jobs?active=true&limit=100")["items"]
    found = rest.call("GET", f"/projects/{stack.project}/containers?all=true&limit=100")["items"]
    return [f"job {each['id']} {each['state']}" for each in jobs] + [
        f"container {each['name']} {each['state']}" for each in found if each["pending"]
    ]


def half_written(stack: RunningStack) -> list[str]:
    """Blobs, layers and job files that were begun and never finished; swept when processes start."""
    node = Path(stack.data) / "node"
    places = (node / "content" / "ingest", node / "layers" / "ingest")
    return [str(path) for place in places if place.is_dir() for path in place.iterdir()]
