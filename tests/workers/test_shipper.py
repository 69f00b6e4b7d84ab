"""The shipper: whatever happens to Redis or to itself, the stream ends up holding what was not applied."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from tests.workers.conftest import PrivateRedis, eventually
from workers.agent import shipper as module
from workers.agent.shipper import Shipper
from workers.journal import Entry, Journal
from workers.messages import JobProgressed, decode_event

STREAM = "slipway:events:local"


@dataclass
class Observer:
    """The platform's side, as docs/architecture.md tells it."""

    redis: Redis
    epoch: str = ""
    applied: int = 0
    seen: list[int] = field(default_factory=list)
    """The number inside every event, in the order of application."""
    cursor: str = "0"

    def read(self) -> None:
        """Apply what is next; ask again for what is missing at the end."""
        is_missing = False
        for key, fields in self.redis.xrange(STREAM, min=f"({self.cursor}" if self.cursor != "0" else "-"):
            self.cursor = key
            seq = int(fields["seq"])
            if fields["epoch"] != self.epoch:
                self.epoch, self.applied = fields["epoch"], 0
            if seq <= self.applied:
                continue
            is_missing = seq != self.applied + 1
            if is_missing:
                continue
            self.applied = seq
            event = decode_event(fields["event"])
            assert isinstance(event, JobProgressed)
            self.seen.append(event.done)
        self.redis.set("slipway:applied:local", f"{self.epoch}:{self.applied}")
        if is_missing:
            self.ask(self.applied + 1)

    def ask(self, seq: int) -> None:
        self.cursor = "0"
        self.redis.set("slipway:replay:local", f"{self.epoch}:{seq}")


@dataclass
class Node:
    journal: Journal
    shipper: Shipper
    epochs_begun: list[str]

    def write(self, *numbers: int) -> None:
        for number in numbers:
            self.journal.append(JobProgressed("job", "x", done=number))


@pytest.fixture(autouse=True)
def trim_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TRIM_EVERY", 0.0)


@pytest.fixture
def redis(redis_server: PrivateRedis) -> Iterator[Redis]:
    with redis_server.client() as client:
        yield client


@pytest.fixture
async def client(redis_server: PrivateRedis) -> AsyncIterator[AsyncRedis]:
    client = AsyncRedis.from_url(redis_server.url, decode_responses=True)
    yield client
    await client.connection_pool.disconnect()


@pytest.fixture
def node(client: AsyncRedis, tmp_path: Path) -> Iterator[Node]:
    journal = Journal(tmp_path / "journal.sqlite3")
    begun: list[str] = []
    yield Node(journal, Shipper(client, "local", journal, lambda: begun.append(journal.epoch)), begun)
    journal.close()


@pytest.fixture
def observer(redis: Redis) -> Observer:
    return Observer(redis)


async def test_events_arrive_in_order_with_their_epoch(node: Node, redis: Redis, observer: Observer) -> None:
    node.write(1, 2, 3)
    await node.shipper.round()
    observer.read()
    assert observer.seen == [1, 2, 3]
    assert observer.epoch == node.journal.epoch
    assert float(redis.xrange(STREAM)[0][1]["at"]) == pytest.approx(node.journal.read(0)[0].at, abs=1e-5)


async def test_long_events_go_in_batches_of_few_bytes(
    node: Node, redis: Redis, observer: Observer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH_BYTES", 10_000)
    sent: list[int] = []
    add = node.shipper._add

    async def counted(epoch: str, entries: list[Entry], *, begins: bool) -> None:
        sent.append(sum(len(entry.event) for entry in entries))
        await add(epoch, entries, begins=begins)

    monkeypatch.setattr(node.shipper, "_add", counted)
    for number in range(20):
        node.journal.append(JobProgressed("job", "x" * 3000, done=number))
    node.journal.append(JobProgressed("job", "y" * 50_000, done=20))
    await node.shipper.round()
    observer.read()
    assert observer.seen == list(range(21))
    assert len(sent) == 8
    assert sorted(sent)[-2] <= 10_000 < max(sent)


async def test_a_round_without_news_adds_nothing(node: Node, redis: Redis) -> None:
    node.write(1)
    await node.shipper.round()
    await node.shipper.round()
    assert redis.xlen(STREAM) == 1


async def test_only_what_was_applied_is_trimmed(node: Node, redis: Redis, observer: Observer) -> None:
    node.write(1, 2, 3)
    await node.shipper.round()
    redis.set("slipway:applied:local", f"{node.journal.epoch}:2")
    await node.shipper.round()
    assert [entry.seq for entry in node.journal.read(0)] == [3]
    assert [fields["seq"] for _, fields in redis.xrange(STREAM)] == ["3"]


async def test_shipping_goes_on_after_everything_was_applied(
    node: Node, redis: Redis, observer: Observer
) -> None:
    node.write(1, 2)
    await node.shipper.round()
    observer.read()
    await node.shipper.round()
    assert redis.xlen(STREAM) == 0
    node.write(3)
    await node.shipper.round()
    observer.read()
    assert observer.seen == [1, 2, 3]


async def test_an_emptied_redis_gets_again_what_was_not_applied(
    node: Node, redis: Redis, observer: Observer
) -> None:
    node.write(1, 2)
    await node.shipper.round()
    observer.read()
    await node.shipper.round()
    node.write(3, 4)
    await node.shipper.round()
    redis.flushall()
    node.write(5)
    await node.shipper.round()
    observer.cursor = "0"
    observer.read()
    assert observer.seen == [1, 2, 3, 4, 5]


async def test_a_new_agent_goes_on_where_the_last_one_stopped(
    node: Node, redis: Redis, client: AsyncRedis, observer: Observer
) -> None:
    node.write(1, 2)
    await node.shipper.round()
    node.write(3)
    await Shipper(client, "local", node.journal, lambda: None).round()
    assert [fields["seq"] for _, fields in redis.xrange(STREAM)] == ["1", "2", "3"]


async def test_a_replay_is_answered_once_and_duplicates_do_no_harm(
    node: Node, redis: Redis, observer: Observer
) -> None:
    node.write(1, 2, 3)
    await node.shipper.round()
    redis.set("slipway:replay:local", f"{node.journal.epoch}:2")
    await node.shipper.round()
    await node.shipper.round()
    assert [fields["seq"] for _, fields in redis.xrange(STREAM)] == ["1", "2", "3", "2", "3"]
    observer.read()
    assert observer.seen == [1, 2, 3]


async def test_a_gap_in_the_stream_is_closed_by_asking(node: Node, redis: Redis, observer: Observer) -> None:
    node.write(1, 2, 3)
    await node.shipper.round()
    redis.xdel(STREAM, redis.xrange(STREAM)[1][0])
    observer.read()
    assert observer.seen == [1]
    await node.shipper.round()
    observer.read()
    assert observer.seen == [1, 2, 3]


async def test_a_journal_set_back_to_a_backup_begins_a_new_epoch(
    node: Node, redis: Redis, observer: Observer
) -> None:
    node.write(1)
    before = node.journal.epoch
    # The platform applied more than this journal knows of.
    redis.set("slipway:applied:local", f"{before}:40")
    observer.epoch, observer.applied = before, 40
    await node.shipper.round()
    assert node.epochs_begun == [node.journal.epoch] != [before]
    node.write(2)
    await node.shipper.round()
    observer.read()
    assert observer.seen == [1, 2]


async def test_a_platform_set_back_to_a_backup_is_told_everything_anew(
    node: Node, redis: Redis, observer: Observer
) -> None:
    node.write(1, 2, 3)
    await node.shipper.round()
    observer.read()
    await node.shipper.round()
    node.write(4)
    observer.applied = 1  # of what it wants now, 2 and 3 exist no more
    observer.ask(2)
    await node.shipper.round()
    assert node.epochs_begun == [node.journal.epoch]
    observer.read()
    assert observer.seen == [1, 2, 3, 4]


async def test_a_lost_journal_replaces_what_its_epoch_had_shipped(
    node: Node, redis: Redis, observer: Observer, tmp_path: Path
) -> None:
    node.write(1, 2)
    await node.shipper.round()
    observer.read()
    for name in ("", "-wal", "-shm"):
        os.unlink(tmp_path / f"journal.sqlite3{name}")
    node.write(7)
    await node.shipper.round()
    assert [fields["epoch"] for _, fields in redis.xrange(STREAM)] == [node.journal.epoch]
    observer.read()
    assert observer.seen == [1, 2, 7]


async def test_the_stream_holds_a_limited_number_of_unapplied_entries(
    node: Node, redis: Redis, observer: Observer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WINDOW", 10)
    node.write(*range(1, 26))
    await node.shipper.round()
    assert redis.xlen(STREAM) == 10
    for _ in range(3):
        observer.read()
        await node.shipper.round()
    observer.read()
    assert observer.seen == list(range(1, 26))


async def test_it_survives_redis_being_killed_and_coming_back_empty(
    node: Node, redis: Redis, redis_server: PrivateRedis, observer: Observer
) -> None:
    node.write(1)
    shipping = asyncio.create_task(node.shipper.ship())
    try:
        async with asyncio.timeout(15):
            await asyncio.to_thread(eventually, lambda: redis.xlen(STREAM) == 1)
            await asyncio.to_thread(redis_server.kill)
            node.write(2)
            node.shipper.poke()
            await asyncio.to_thread(redis_server.start)
            await asyncio.to_thread(eventually, lambda: redis.xlen(STREAM) == 2)
    finally:
        shipping.cancel()
        await asyncio.gather(shipping, return_exceptions=True)
    observer.read()
    assert observer.seen == [1, 2]
