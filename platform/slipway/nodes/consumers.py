"""A log on its way to one browser: in batches, no faster than the browser takes them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Any

from slipway.nodes import agent
from slipway.nodes.agent import LogEntry
from slipway.nodes.errors import NodeUnreachable
from slipway.nodes.log_reading import Log, LogRequest, Source, read_log
from workers.errors import SlipwayError

BATCH_BYTES = 64 << 10
BATCH_SECONDS = 0.05
AHEAD_BATCHES = 8
"""Sent but not yet acknowledged; a browser in the background acknowledges nothing, so sending stops."""
AHEAD_BYTES = 4 * BATCH_BYTES
"""Read but not yet sent."""
FRAMING_BYTES = 60
"""What an entry costs on the wire besides its text."""

Send = Callable[[dict[str, Any]], Awaitable[None]]


class LogFollow:
    """Forwards one log until nobody writes it any more, then says so. Cancel ``run`` to stop.

    Frames: ``{"topic", "entries": [[position, time, stream, text, whole], …], "next", "end"}``, or
    ``{"topic", "error": {"code", "message"}, "retry"}`` as the last one.
    """

    def __init__(self, log: Log, asked: LogRequest, send: Send, source: Source = agent.log_entries) -> None:
        self.topic = log.topic
        self._entries = read_log(log, asked, source)
        self._send = send
        self._next = asked.position or 0
        self._read: deque[tuple[int, list[Any]]] = deque()
        self._read_bytes = 0
        self._sent: deque[int] = deque()
        self._wake = asyncio.Event()
        self._acknowledged = asyncio.Event()
        self._room = asyncio.Event()

    def acknowledge(self, position: int) -> None:
        """The browser has shown everything before ``position``."""
        while self._sent and self._sent[0] <= position:
            self._sent.popleft()
        self._acknowledged.set()

    async def run(self) -> None:
        reader = asyncio.create_task(self._read_all())
        reader.add_done_callback(lambda _: self._wake.set())
        try:
            await self._forward(reader)
            await reader
            await self._send({"topic": self.topic, "entries": [], "next": self._next, "end": True})
        except SlipwayError as error:
            told = {"code": error.code, "message": error.message}
            retry = isinstance(error, NodeUnreachable)
            await self._send({"topic": self.topic, "error": told, "retry": retry})
        finally:
            reader.cancel()
            with suppress(asyncio.CancelledError, SlipwayError):
                await reader

    # ------------------------------------------------------------------ from the node

    async def _read_all(self) -> None:
        async with aclosing(self._entries) as entries:  # type: ignore[type-var]  # an async generator in fact
            async for entry in entries:
                self._take(entry)
                while self._read_bytes >= AHEAD_BYTES:
                    self._room.clear()
                    await self._room.wait()

    def _take(self, entry: LogEntry) -> None:
        row = [entry.position, entry.time, entry.stream, entry.text, entry.whole]
        self._read.append((entry.next, row))
        self._read_bytes += len(entry.text) + FRAMING_BYTES
        self._wake.set()

    # ------------------------------------------------------------------ to the browser

    async def _forward(self, reader: asyncio.Task[None]) -> None:
        loop = asyncio.get_running_loop()
        last = 0.0
        while True:
            await self._wake.wait()
            self._wake.clear()
            if not self._read and reader.done():
                return
            # A line after silence goes at once; a stream of them in batches.
            if self._read_bytes < BATCH_BYTES and not reader.done():
                await asyncio.sleep(max(0.0, last + BATCH_SECONDS - loop.time()))
            while self._read:
                await self._may_send()
                await self._send(self._batch())
                last = loop.time()
                if self._read_bytes < BATCH_BYTES and not reader.done():
                    break
            if self._read or reader.done():
                self._wake.set()

    async def _may_send(self) -> None:
        while len(self._sent) >= AHEAD_BATCHES:
            self._acknowledged.clear()
            await self._acknowledged.wait()

    def _batch(self) -> dict[str, Any]:
        rows: list[list[Any]] = []
        taken = 0
        while self._read and taken < BATCH_BYTES:
            self._next, row = self._read.popleft()
            rows.append(row)
            taken += len(row[3]) + FRAMING_BYTES
        self._read_bytes -= taken
        self._room.set()
        self._sent.append(self._next)
        return {"topic": self.topic, "entries": rows, "next": self._next, "end": False}
