"""Ships the journal to the node's Redis Stream, and trims what the platform has applied.

Redis may be away, come back, or come back emptied at any moment. So nothing is remembered here that Redis
could contradict: every round asks it where the stream ends, what was applied and what is wanted again.
docs/architecture.md, section 3, describes the protocol.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from workers import crash
from workers.journal import Entry, Journal

BATCH = 500
BATCH_BYTES = 4 << 20
"""Of one batch: neither this process nor Redis holds more at a time for the asking."""
WINDOW = 20_000
"""Entries in the stream that were not applied; beyond, they wait in the journal, which has more room."""
ROUND = 1.0
"""Seconds between rounds when nothing is journaled."""
TRIM_EVERY = 5.0
LONGEST_PAUSE = 2.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Point:
    """A place in a journal's history."""

    epoch: str
    seq: int

    @classmethod
    def parse(cls, text: str | None) -> Point | None:
        epoch, _, seq = (text or "").rpartition(":")
        return cls(epoch, int(seq)) if seq.isascii() and seq.isdigit() else None


@dataclass(frozen=True)
class _State:
    """What Redis says. ``tail`` is the last entry of the stream."""

    applied: Point | None
    wanted: Point | None
    tail: Point | None


class Shipper:
    """``ship`` for ever in one task; ``poke`` when the journal grew."""

    def __init__(
        self, redis: Redis[str], node: str, journal: Journal, on_new_epoch: Callable[[], None]
    ) -> None:
        """``on_new_epoch`` is called when the platform must be told everything anew."""
        self._redis, self._journal, self._on_new_epoch = redis, journal, on_new_epoch
        self._stream = f"slipway:events:{node}"
        self._applied_key = f"slipway:applied:{node}"
        self._replay_key = f"slipway:replay:{node}"
        self._grown = asyncio.Event()
        self._trimmed_at = 0.0

    def poke(self) -> None:
        self._grown.set()

    async def ship(self) -> None:
        failures = 0
        while True:
            try:
                await self.round()
            except (RedisError, OSError) as error:
                if not failures:
                    log.warning("redis_is_away", error=str(error))
                await asyncio.sleep(min(0.1 * 2**failures, LONGEST_PAUSE))
                failures = min(failures + 1, 10)
                continue
            if failures:
                log.info("redis_is_back")
                failures = 0
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._grown.wait(), ROUND)

    async def round(self) -> None:
        """Bring the stream up to the journal."""
        self._grown.clear()
        state = await self._look()
        epoch, first, last = await self._call(self._journal.extent)
        if _is_ahead_of(state, epoch, first, last):
            await self._call(self._journal.renew)
            epoch, first, last = await self._call(self._journal.extent)
            log.warning(
                "journal_epoch_begun", epoch=epoch, applied=str(state.applied), wanted=str(state.wanted)
            )
            self._on_new_epoch()
            state = _State(None, None, state.tail)
        applied = state.applied.seq if state.applied and state.applied.epoch == epoch else 0
        limit = max(applied, first - 1) + WINDOW
        await self._send(epoch, _start(state, epoch, applied), min(limit, last), state.tail)
        await self._trim(epoch, applied)

    async def _look(self) -> _State:
        pipeline: Any = self._redis.pipeline(transaction=False)
        pipeline.get(self._applied_key)
        pipeline.getdel(self._replay_key)
        pipeline.xrevrange(self._stream, count=1)
        applied, wanted, tail = await pipeline.execute()
        point = Point(tail[0][1]["epoch"], int(tail[0][1]["seq"])) if tail else None
        return _State(Point.parse(applied), Point.parse(wanted), point)

    async def _send(self, epoch: str, after: int, limit: int, tail: Point | None) -> None:
        begins = tail is not None and tail.epoch != epoch
        while after < limit:
            entries = await self._call(self._read, after)
            entries = [entry for entry in entries if entry.seq <= limit]
            if not entries:
                return
            await self._add(epoch, entries, begins=begins)
            begins, after = False, entries[-1].seq

    def _read(self, after: int) -> list[Entry]:
        return self._journal.read(after, BATCH, max_bytes=BATCH_BYTES)

    async def _add(self, epoch: str, entries: list[Entry], *, begins: bool) -> None:
        pipeline: Any = self._redis.pipeline(transaction=True)
        if begins:
            pipeline.delete(self._stream)  # what an ended epoch left must not be read after this one
        for entry in entries:
            fields = {"epoch": epoch, "seq": entry.seq, "at": f"{entry.at:.6f}", "event": entry.event}
            pipeline.xadd(self._stream, fields)
        crash.point("ship.before_add")
        await pipeline.execute()
        crash.point("ship.after_add")

    async def _trim(self, epoch: str, applied: int) -> None:
        now = time.monotonic()
        if not applied or now - self._trimmed_at < TRIM_EVERY:
            return
        self._trimmed_at = now
        await self._call(self._journal.trim, applied)
        while True:
            entries = await self._redis.xrange(self._stream, count=BATCH)
            kept = next((key for key, fields in entries if not _is_done(fields, epoch, applied)), None)
            if kept is not None:
                await self._redis.xtrim(self._stream, minid=kept, approximate=False)
                return
            if not entries:
                return
            await self._redis.xdel(self._stream, *(key for key, _ in entries))

    async def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """The journal may wait for a disk."""
        return await asyncio.to_thread(function, *arguments)


def _is_ahead_of(state: _State, epoch: str, first: int, last: int) -> bool:
    """The platform is at a point that this journal does not have: one of the two was set back."""
    told = [point for point in (state.applied, state.tail) if point and point.epoch == epoch]
    if any(point.seq > last for point in told):
        return True
    if state.wanted is None:
        return False
    wanted = state.wanted.seq if state.wanted.epoch == epoch else 1
    return not first <= wanted <= last + 1


def _start(state: _State, epoch: str, applied: int) -> int:
    """The seq after which to send."""
    if state.wanted:
        return state.wanted.seq - 1 if state.wanted.epoch == epoch else 0
    if state.tail and state.tail.epoch == epoch:
        return state.tail.seq
    return applied


def _is_done(fields: dict[str, str], epoch: str, applied: int) -> bool:
    return fields["epoch"] != epoch or int(fields["seq"]) <= applied
