"""A log on a node as one answer: from a position to the end, or on until nobody writes it any more.

A follow outlives a restart of the agent: it goes on from the position it had reached.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Protocol

from slipway.nodes import agent
from slipway.nodes.agent import LogEntry
from slipway.nodes.errors import LogGone, NodeUnreachable
from slipway.nodes.models import Node
from slipway.threads import look
from workers.errors import NoSuchContainer, NoSuchLog

AHEAD_BYTES = 128 << 10
"""Read but not yet taken by the client."""
FIRST_SECONDS = 0.25
"""How long a follow waits for its first line or error before it sends its headers."""
PAUSES = (0.1, 0.2, 0.5, 1.0, 2.0)
PATIENCE = 60
"""Pauses in a row before a follow gives up on an agent that does not answer: about two minutes."""

Render = Callable[[LogEntry], bytes]


@dataclass(frozen=True)
class LogRequest:
    position: int | None = None
    tail: int | None = None
    follow: bool = False
    stream: str | None = None
    """stdout or stderr; None for both."""
    step: int | None = None
    """Of a build; None for all."""

    def takes(self, stream: str) -> bool:
        step, _, name = stream.rpartition(":")
        return self.stream in (None, name) and self.step in (None, int(step) if step.isdigit() else None)


class Source(Protocol):
    """``slipway.nodes.agent.log_entries``; a fake in tests."""

    def __call__(
        self, node: Node, path: str, *, position: int | None, tail: int | None, follow: bool
    ) -> AsyncIterator[LogEntry]: ...


@dataclass(frozen=True)
class Log:
    """A log that lies on a node, and what its row tells of it. Rooms make theirs (``jobs/logs.py``)."""

    topic: str
    """Of the socket."""
    node: Node
    path: str
    """At the node's agent."""
    goes_on: Callable[[], bool]
    """Whether more may come. Asks the database."""
    gone: str = ""
    """What to say when the node does not know it; empty where nothing was written yet."""


def render_text(entry: LogEntry) -> bytes:
    return f"{entry.text}\n".encode() if entry.whole else entry.text.encode()


def render_stamped_text(entry: LogEntry) -> bytes:
    # A stamp in the middle of a line would tear it apart, so every part is a line of its own.
    return f"{entry.time} {entry.text}\n".encode()


def render_ndjson(entry: LogEntry) -> bytes:
    body = {
        "position": entry.position,
        "next": entry.next,
        "time": entry.time,
        "stream": entry.stream,
        "text": entry.text,
        "whole": entry.whole,
    }
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


async def read_log(
    log: Log, asked: LogRequest, source: Source = agent.log_entries
) -> AsyncIterator[LogEntry]:
    """Entries in order, none twice. Raise ``LogGone``, ``NodeUnreachable``."""
    position, tail, failures = asked.position, asked.tail, 0
    over = False
    while True:
        reached = True
        try:
            found = source(log.node, log.path, position=position, tail=tail, follow=asked.follow)
            async with aclosing(found) as entries:  # type: ignore[type-var]  # an async generator in fact
                async for entry in entries:
                    position, tail, failures = entry.next, None, 0
                    if asked.takes(entry.stream):
                        yield entry
        except (NoSuchContainer, NoSuchLog) as error:
            # What has not begun yet is not known to its node, and its log is empty.
            if log.gone and not asked.follow:
                raise LogGone(log.gone) from error
        except NodeUnreachable:
            if not asked.follow or failures >= PATIENCE:
                raise
            reached = False
        if not asked.follow or (reached and over):
            return
        over = reached and not await look(log.goes_on)
        if over:
            continue  # once more: it may have begun, have printed and ended since the node was asked
        # The agent is away, or the node knows of a beginning or an end that the row does not tell of yet.
        await asyncio.sleep(PAUSES[min(failures, len(PAUSES) - 1)])
        failures += 1


class LogAnswer:
    """Rendered entries as they come, joined into larger pieces while the client is slower than the log."""

    def __init__(self, entries: AsyncIterator[LogEntry], render: Render) -> None:
        self.first: int | None = None
        """Position of the first entry, once there is one."""
        self._entries = entries
        self._render = render
        self._ready = bytearray()
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None

    async def begin(self, seconds: float | None) -> None:
        """Return at the first entry, the end or after ``seconds``. Raise what the reader raised by then."""
        self._reader = asyncio.create_task(self._read())
        self._reader.add_done_callback(lambda _: self._wake.set())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), seconds)
        if self._reader.done() and not self._ready:
            await self._reader

    async def _read(self) -> None:
        async for entry in self._entries:
            if self.first is None:
                self.first = entry.position
            self._ready += self._render(entry)
            self._wake.set()
            while len(self._ready) >= AHEAD_BYTES:
                self._room.clear()
                await self._room.wait()

    async def pieces(self) -> AsyncIterator[bytes]:
        """To be used once, after ``begin``; closing it stops the reading."""
        reader = self._reader
        if reader is None:
            raise RuntimeError("begin comes first")
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                if self._ready:
                    piece = bytes(self._ready)
                    self._ready.clear()
                    self._room.set()
                    yield piece
                if reader.done() and not self._ready:
                    break
            await reader
        finally:
            await self.stop()

    async def stop(self) -> None:
        """Close the connection to the agent; safe to repeat."""
        if self._reader is not None and not self._reader.done():
            self._reader.cancel()
            await asyncio.wait([self._reader])
