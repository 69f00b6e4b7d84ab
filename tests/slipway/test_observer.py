"""The observer against a real Redis; the node's side of the protocol is played by ``FakeNode``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from django.db import OperationalError

from slipway import events, observer
from slipway.jobs.models import Job
from slipway.nodes.models import Node
from slipway.observer import Observer
from tests.factories import make_job, make_node
from workers.messages import Event, Failure, JobFailed, JobProgressed, JobStarted, JobSucceeded, encode

pytestmark = pytest.mark.django_db


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class FakeNode:
    """A journal and its shipping, as docs/architecture.md has it."""

    def __init__(self, broker: redis.Redis, name: str = "local", epoch: str = "e1") -> None:
        self.broker, self.name, self.epoch = broker, name, epoch
        self.journal: list[tuple[int, str]] = []
        self.last = 0

    def tell(self, *told: Event) -> None:
        for event in told:
            self.last += 1
            self.journal.append((self.last, encode(event)))
            self.ship(self.last)

    def ship(self, seq: int) -> None:
        for number, event in self.journal:
            if number == seq:
                fields = {"epoch": self.epoch, "seq": seq, "at": 1_790_000_000.5, "event": event}
                self.broker.xadd(f"slipway:events:{self.name}", fields)

    def answer_replay(self) -> str | None:
        asked = self.broker.getdel(f"slipway:replay:{self.name}")
        if asked is None:
            return None
        epoch, _, seq = asked.decode().partition(":")
        first = int(seq) if epoch == self.epoch else 1
        for number, _ in list(self.journal):
            if number >= first:
                self.ship(number)
        return asked.decode()

    @property
    def told_applied(self) -> str | None:
        value = self.broker.get(f"slipway:applied:{self.name}")
        return value.decode() if value else None


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watch(broker: redis.Redis, clock: Clock) -> Iterator[Observer]:
    made = Observer(broker, clock=clock, pause=clock.advance)
    yield made
    made.stop()
    made.run()


@pytest.fixture
def node(broker: redis.Redis) -> FakeNode:
    make_node()
    return FakeNode(broker)


def turn(watch: Observer) -> None:
    """Until nothing more is there to read."""
    while watch.turn(block_ms=1):
        pass


def state() -> tuple[str, int]:
    return Node.objects.values_list("epoch", "applied_seq").get(name="local")


def test_events_are_applied_in_order_and_acknowledged(watch: Observer, node: FakeNode) -> None:
    job = make_job()
    node.tell(JobStarted(job.hex), JobProgressed(job.hex, "half"), JobSucceeded(job.hex))
    turn(watch)
    job.refresh_from_db()
    assert (job.state, job.detail) == ("succeeded", "half")
    assert state() == ("e1", 3)
    assert node.told_applied == "e1:3"


def test_entries_seen_twice_are_skipped(watch: Observer, node: FakeNode) -> None:
    job = make_job()
    node.tell(JobProgressed(job.hex, "one"), JobProgressed(job.hex, "two"))
    node.ship(1)
    turn(watch)
    job.refresh_from_db()
    assert job.detail == "two"
    assert state() == ("e1", 2)


def test_it_stops_at_a_gap_and_asks_for_what_is_missing(watch: Observer, node: FakeNode) -> None:
    job = make_job()
    turn(watch)
    assert node.answer_replay() == ":1"
    node.tell(JobProgressed(job.hex, "one"))
    turn(watch)
    node.last = 2
    node.journal.append((2, encode(JobProgressed(job.hex, "two"))))  # journaled, lost on the way
    node.tell(JobProgressed(job.hex, "three"))
    watch._clock.advance(observer.ASK_SECONDS)
    turn(watch)
    job.refresh_from_db()
    assert job.detail == "one"
    assert state() == ("e1", 1)
    assert node.answer_replay() == "e1:2"
    turn(watch)
    job.refresh_from_db()
    assert job.detail == "three"
    assert state() == ("e1", 3)


def test_a_gap_nobody_can_fill_is_accepted_after_asking_enough(
    watch: Observer, node: FakeNode, clock: Clock
) -> None:
    job = make_job()
    node.tell(JobProgressed(job.hex, "one"))
    turn(watch)
    node.last = 5  # two to five were trimmed: this database was set back to a backup
    node.tell(JobProgressed(job.hex, "six"))
    for _ in range(observer.ASKED_ENOUGH + 2):
        clock.advance(observer.ASK_SECONDS)
        node.answer_replay()
        turn(watch)
    job.refresh_from_db()
    assert job.detail == "six"
    assert state() == ("e1", 6)


def test_a_gap_is_kept_open_while_the_node_is_away(watch: Observer, node: FakeNode, clock: Clock) -> None:
    node.last = 1
    node.tell(JobProgressed("0" * 32, "two"))
    for _ in range(observer.ASKED_ENOUGH * 3):
        clock.advance(observer.ASK_SECONDS)
        turn(watch)
    assert state()[1] == 0
    node.journal.append((1, encode(JobProgressed("0" * 32, "one"))))
    node.journal.sort()
    node.answer_replay()
    turn(watch)
    assert state() == ("e1", 2)


def test_a_replay_that_was_taken_and_never_came_is_asked_for_again(
    watch: Observer, node: FakeNode, broker: redis.Redis, clock: Clock
) -> None:
    node.last = 1
    node.tell(JobProgressed("0" * 32, "two"))
    turn(watch)
    broker.delete("slipway:replay:local")
    clock.advance(observer.ASK_SECONDS)
    turn(watch)
    assert broker.get("slipway:replay:local") == b"e1:1"


def test_a_new_epoch_counts_from_one_again(watch: Observer, node: FakeNode, broker: redis.Redis) -> None:
    job = make_job()
    node.tell(JobProgressed(job.hex, "one"), JobProgressed(job.hex, "two"))
    turn(watch)
    broker.delete("slipway:events:local")
    reborn = FakeNode(broker, epoch="e2")
    reborn.tell(JobProgressed(job.hex, "new"))
    turn(watch)
    job.refresh_from_db()
    assert job.detail == "new"
    assert state() == ("e2", 1)
    assert reborn.told_applied == "e2:1"


def test_an_emptied_redis_is_noticed_and_everything_asked_for_again(
    watch: Observer, node: FakeNode, broker: redis.Redis, clock: Clock
) -> None:
    job = make_job()
    node.tell(JobProgressed(job.hex, "one"))
    turn(watch)
    node.answer_replay()
    broker.flushall()
    node.last += 1
    node.journal.append((2, encode(JobProgressed(job.hex, "lost with the stream"))))
    clock.advance(observer.HOUSEKEEPING_SECONDS)
    turn(watch)
    assert node.answer_replay() == "e1:2"
    turn(watch)
    job.refresh_from_db()
    assert job.detail == "lost with the stream"


def test_facts_and_applied_seq_are_one_transaction(
    watch: Observer, node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A death in the middle of a batch leaves neither the facts nor the mark."""
    job = make_job()
    node.tell(JobStarted(job.hex), JobProgressed(job.hex, "half"))
    entries = [observer.Entry("e1", seq, 1.0, text) for seq, text in node.journal]

    class Killed(BaseException):
        pass

    def apply(event: Event, *rest: Any) -> Any:
        if isinstance(event, JobProgressed):
            raise Killed
        return original(event, *rest)

    original = events.apply
    monkeypatch.setattr(events, "apply", apply)
    with pytest.raises(Killed):
        observer.apply_batch(Node.objects.get().pk, entries)
    assert Job.objects.get().state == "queued"
    assert state() == ("", 0)
    monkeypatch.undo()
    turn(watch)
    assert Job.objects.get().state == "running"
    assert state() == ("e1", 2)


def test_two_observers_apply_each_event_once(watch: Observer, node: FakeNode, broker: redis.Redis) -> None:
    job = make_job()
    second = Observer(broker)
    node.tell(JobStarted(job.hex))
    turn(watch)
    turn(second)
    node.tell(JobProgressed(job.hex, "half"))
    turn(second)
    turn(watch)
    node.tell(JobSucceeded(job.hex))
    turn(watch)
    assert state() == ("e1", 3)
    second.stop()
    second.run()


@pytest.mark.parametrize("poison", ["{}", "no json", '{"kind": "Unknown", "body": {}}'])
def test_an_event_nobody_understands_holds_up_none_that_follow(
    watch: Observer, node: FakeNode, poison: str
) -> None:
    job = make_job()
    node.last = 1
    node.journal.append((1, poison))
    node.ship(1)
    node.tell(JobStarted(job.hex))
    turn(watch)
    assert state() == ("e1", 2)
    assert Job.objects.get().state == "running"


def test_what_a_tenant_wrote_into_a_cause_can_be_stored(watch: Observer, node: FakeNode) -> None:
    job = make_job()
    node.tell(
        JobFailed(job.hex, Failure("ARCHIVE_INVALID", "no \0 image \ud800 \U0001f680", {"a\0": "\udfff"}))
    )
    turn(watch)
    job.refresh_from_db()
    assert job.state == "failed"
    cause = {
        "code": "ARCHIVE_INVALID",
        "message": "no \\x00 image \\ud800 \U0001f680",
        "facts": {"a\\x00": "\\udfff"},
    }
    assert job.cause == cause


def test_an_entry_without_its_fields_is_passed_over(
    watch: Observer, node: FakeNode, broker: redis.Redis
) -> None:
    broker.xadd("slipway:events:local", {"seq": "x"})
    broker.xadd("slipway:events:local", {"noise": "x"})
    node.tell(JobStarted(make_job().hex))
    turn(watch)
    assert state() == ("e1", 1)


def test_heartbeats_are_noted(watch: Observer, node: FakeNode, broker: redis.Redis, clock: Clock) -> None:
    Node.objects.update(heartbeat_at=None)
    broker.set("slipway:heartbeat:local", json.dumps({"at": 5.0, "runtime": "crun"}))
    turn(watch)
    row = Node.objects.get()
    assert row.is_live()
    assert row.facts["runtime"] == "crun"
    before = row.heartbeat_at
    clock.advance(2)
    turn(watch)
    assert Node.objects.get().heartbeat_at == before
    broker.set("slipway:heartbeat:local", "[]")
    clock.advance(2)
    turn(watch)
    assert Node.objects.get().facts["runtime"] == "crun"


def test_a_broker_that_is_away_is_waited_for(tmp_path: Any, clock: Clock) -> None:
    make_node()
    absent = observer.connect(f"unix://{tmp_path}/absent.sock")
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 6:
            waiting.stop()

    waiting = Observer(absent, clock=clock, pause=pause)
    waiting.run()
    assert pauses == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0]


def test_the_databases_trouble_is_not_taken_for_the_events(
    node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    def locked(*_: Any) -> Any:
        raise OperationalError("database is locked")

    monkeypatch.setattr(events, "apply", locked)
    with pytest.raises(OperationalError):
        observer.apply_batch(
            Node.objects.get().pk, [observer.Entry("e1", 1, 1.0, encode(JobStarted("0" * 32)))]
        )
    assert state() == ("", 0)
