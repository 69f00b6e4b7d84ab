"""The observer: reads the nodes' event streams and applies them in order (docs/architecture.md, 3).

It may be killed at any instant: ``applied_seq`` is stored with the facts in one transaction, and nodes keep
what was not applied. Two observers do no harm: the node's row is locked for each batch.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import redis
import structlog
from django.db import InterfaceError, OperationalError, connection, transaction
from redis.backoff import NoBackoff
from redis.retry import Retry

from slipway import events, hints
from slipway.nodes import heartbeats
from slipway.nodes.models import Node
from slipway.schedule import Background, Schedule
from workers import crash
from workers.messages import decode_event

log = structlog.get_logger(__name__)

BATCH = 200
BLOCK_MS = 500
HOUSEKEEPING_SECONDS = 1.0
ASK_SECONDS = 2.0
"""Between two requests for the same replay."""
ASKED_ENOUGH = 5
"""Replays asked for and answered in vain, after which a gap counts as lost for good."""
PAUSE_MAX = 5.0
_UNSTORABLE = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")


def connect(url: str) -> redis.Redis:
    """A client that fails at once: how long to wait is ours to say."""
    return redis.Redis.from_url(
        url, socket_timeout=10, socket_connect_timeout=3, retry=Retry(NoBackoff(), retries=0)
    )


def stream_key(node: str) -> str:
    return f"slipway:events:{node}"


def applied_key(node: str) -> str:
    return f"slipway:applied:{node}"


def replay_key(node: str) -> str:
    return f"slipway:replay:{node}"


@dataclass(frozen=True)
class Entry:
    """One entry of a node's stream."""

    epoch: str
    seq: int
    at: float
    event: str

    @classmethod
    def parse(cls, fields: dict[bytes, bytes]) -> Entry:
        """Raise ``ValueError`` when it is no entry of a journal."""
        try:
            return cls(
                epoch=fields[b"epoch"].decode()[:64],
                seq=int(fields[b"seq"]),
                at=float(fields[b"at"]),
                event=fields[b"event"].decode(),
            )
        except KeyError as error:
            raise ValueError(f"the field {error} is missing") from error


@dataclass(frozen=True)
class Applied:
    """Where a node stands after a batch."""

    epoch: str
    seq: int
    hints: tuple[hints.Hint, ...] = ()
    gap_before: int | None = None
    """Seq of the first entry that could not be applied because some before it are missing."""


def apply_batch(node_id: UUID, entries: Iterable[Entry]) -> Applied:
    """Apply the entries that are next, in one transaction; skip known ones, stop at a gap."""
    collected: list[hints.Hint] = []
    gap: int | None = None
    with transaction.atomic():
        # Not the key: whoever makes rows that refer to the node need not wait for a batch.
        node = Node.objects.select_for_update(no_key=True).get(pk=node_id)
        epoch, seq = node.epoch, node.applied_seq
        for entry in entries:
            if entry.epoch != epoch:
                log.info("journal_epoch_began", node=node.name, epoch=entry.epoch, before=epoch, applied=seq)
                epoch, seq = entry.epoch, 0
            if entry.seq <= seq:
                continue
            if entry.seq != seq + 1:
                gap = entry.seq
                break
            collected += _apply_one(entry, node)
            seq = entry.seq
        if (epoch, seq) != (node.epoch, node.applied_seq):
            Node.objects.filter(pk=node.pk).update(epoch=epoch, applied_seq=seq)
            crash.point("observer.before_commit")
    crash.point("observer.after_commit")
    return Applied(epoch, seq, tuple(dict.fromkeys(collected)), gap)


def _apply_one(entry: Entry, node: Node) -> Sequence[hints.Hint]:
    """An event that cannot be applied is logged and passed over: it must not hold up all that follow."""
    try:
        with transaction.atomic():
            return events.apply(decode_event(_storable(entry.event)), node, events.event_time(entry.at))
    except (OperationalError, InterfaceError):
        raise  # the database's trouble, not the event's
    except Exception:
        log.exception("event_refused", node=node.name, seq=entry.seq, text=entry.event[:2000])
        return ()


def _storable(event: str) -> str:
    """The event with NUL characters and halves of characters written out: PostgreSQL keeps neither.

    What a node tells may quote whatever a tenant wrote.
    """
    return json.dumps(_written_out(json.loads(event))) if _UNSTORABLE.search(event) else event


def _written_out(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()
    if isinstance(value, list):
        return [_written_out(each) for each in value]
    if isinstance(value, dict):
        return {_written_out(name): _written_out(each) for name, each in value.items()}
    return value


def accept_gap(node_id: UUID, epoch: str, before: int) -> None:
    """Go on behind events that no longer exist anywhere; inventories correct what they would have told."""
    with transaction.atomic():
        node = Node.objects.select_for_update().get(pk=node_id)
        if node.epoch == epoch and node.applied_seq < before - 1:
            log.error("events_lost", node=node.name, first=node.applied_seq + 1, last=before - 1)
            Node.objects.filter(pk=node.pk).update(applied_seq=before - 1)


@dataclass
class Reading:
    """How far this process has read a node's stream."""

    node_id: UUID
    name: str
    epoch: str
    seq: int
    cursor: str = "0"
    asked_at: float = field(default=float("-inf"))
    in_vain: int = 0
    gap_before: int | None = None


class Observer:
    """One process; ``run`` returns after ``stop`` within three seconds."""

    def __init__(
        self,
        broker: redis.Redis,
        *,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._broker = broker
        self._clock = clock
        self._pause = pause
        self._readings: dict[str, Reading] = {}
        self._kept_at = float("-inf")
        self._schedule = Schedule(clock)
        self._stopping = False
        # Lives as long as we do, so that the channel layer's connection does.
        self._loop = asyncio.Runner()

    def stop(self) -> None:
        self._stopping = True

    def run(self) -> None:
        """Turn until stopped; a broker or database that is away is waited for."""
        failures = 0
        background = [] if self._stopping else Background.all()
        for each in background:
            each.start()
        try:
            while not self._stopping:
                try:
                    self.turn()
                    failures = 0
                except (redis.RedisError, OSError) as error:
                    self._wait("redis_away", error, failures)
                    failures += 1
                except (OperationalError, InterfaceError) as error:
                    connection.close()
                    self._wait("database_away", error, failures)
                    failures += 1
        finally:
            for each in background:
                each.stop()
            self._loop.close()
            connection.close()

    def _wait(self, name: str, error: Exception, failures: int) -> None:
        seconds = min(PAUSE_MAX, 0.2 * 2**failures)
        log.warning(name, error=str(error), retry_in=seconds)
        # What came meanwhile may be gone, or come again under other ids: read all there is.
        self._readings.clear()
        self._kept_at = float("-inf")
        self._pause(seconds)

    def turn(self, *, block_ms: int = BLOCK_MS) -> int:
        """Keep house if it is time, then read and apply what is there. How many entries were read."""
        if self._clock() - self._kept_at >= HOUSEKEEPING_SECONDS:
            self._keep_house()
        self._schedule.run_due()
        if not self._readings:
            self._pause(block_ms / 1000)
            return 0
        streams: dict[Any, Any] = {stream_key(each.name): each.cursor for each in self._readings.values()}
        answer: Any = self._broker.xread(streams, count=BATCH, block=block_ms)
        by_stream = {stream_key(each.name): each for each in self._readings.values()}
        for stream, items in answer or ():
            self._apply(by_stream[stream.decode()], items)
        return sum(len(items) for _, items in answer or ())

    def _apply(self, reading: Reading, items: Sequence[tuple[bytes, dict[bytes, bytes]]]) -> None:
        entries = [entry for entry in (_parse(reading.name, fields) for _, fields in items) if entry]
        applied = apply_batch(reading.node_id, entries)
        reading.cursor = items[-1][0].decode()
        if applied.hints:
            self._loop.run(hints.send(applied.hints))
        if (applied.epoch, applied.seq) != (reading.epoch, reading.seq):
            reading.in_vain = 0
        reading.epoch, reading.seq = applied.epoch, applied.seq
        self._tell_applied(reading)
        reading.gap_before = applied.gap_before
        if reading.gap_before is not None:
            self._close_gap(reading, reading.gap_before)

    def _close_gap(self, reading: Reading, before: int) -> None:
        """Ask for what is missing, again and again; in the end go on without it."""
        # The node takes a request away when it answers: one that still lies there was not even read.
        too_soon = self._clock() - reading.asked_at < ASK_SECONDS
        if too_soon or self._broker.exists(replay_key(reading.name)):
            return
        if reading.in_vain >= ASKED_ENOUGH:
            accept_gap(reading.node_id, reading.epoch, before)
            del self._readings[reading.name]
            self._kept_at = float("-inf")
            return
        log.warning("events_missing", node=reading.name, wanted=reading.seq + 1, got=before)
        self._ask_replay(reading)
        reading.in_vain += 1

    def _keep_house(self) -> None:
        """Note new nodes and heartbeats; say again how far we are, and ask for all after an empty Redis."""
        self._kept_at = self._clock()
        for node in Node.objects.all():
            reading = self._readings.get(node.name)
            is_new = reading is None or reading.node_id != node.pk
            if reading is None or is_new:
                reading = Reading(node.pk, node.name, node.epoch, node.applied_seq)
                self._readings[node.name] = reading
            forgotten = self._tell_applied(reading)
            if is_new or forgotten:
                reading.cursor = "0"
                self._ask_replay(reading)
            elif reading.gap_before is not None:
                self._close_gap(reading, reading.gap_before)
            heartbeats.note(node, self._broker.get(heartbeats.key(node.name)))

    def _tell_applied(self, reading: Reading) -> bool:
        """True when Redis no longer knew what we told it before."""
        if not reading.epoch:
            return False
        value = f"{reading.epoch}:{reading.seq}"
        return self._broker.set(applied_key(reading.name), value, get=True) is None

    def _ask_replay(self, reading: Reading) -> None:
        self._broker.set(replay_key(reading.name), f"{reading.epoch}:{reading.seq + 1}")
        reading.asked_at = self._clock()


def _parse(node: str, fields: dict[bytes, bytes]) -> Entry | None:
    try:
        return Entry.parse(fields)
    except ValueError as error:
        log.error("entry_refused", node=node, error=str(error))
        return None
