"""A container's log as one HTTP answer: from a position to the end, or on until the container has ended.

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

from slipway.containers.errors import LogGone
from slipway.containers.models import Container, State
from slipway.nodes import agent
from slipway.nodes.agent import LogEntry
from slipway.nodes.errors import NodeUnreachable
from slipway.nodes.models import Node
from slipway.threads import look
from workers.errors import NoSuchContainer

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


class Source(Protocol):
    """``slipway.nodes.agent.entries``; a fake in tests."""

    def __call__(
        self, node: Node, container: str, *, position: int | None, tail: int | None, follow: bool
    ) -> AsyncIterator[LogEntry]: ...


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
    container: Container, asked: LogRequest, source: Source = agent.entries
) -> AsyncIterator[LogEntry]:
    """Entries in order, none twice. Raise ``LogGone``, ``NodeUnreachable``."""
    position, tail, failures = asked.position, asked.tail, 0
    while True:
        reached = True
        try:
            found = source(container.node, container.id, position=position, tail=tail, follow=asked.follow)
            async with aclosing(found) as entries:  # type: ignore[type-var]  # an async generator in fact
                async for entry in entries:
                    position, tail, failures = entry.next, None, 0
                    if asked.stream in (None, entry.stream):
                        yield entry
        except NoSuchContainer as error:
            # Before its first start a container is not known to its node, and its log is empty.
            if container.run > 0 and not asked.follow:
                raise LogGone(f"The log of {container.name} is no longer kept.") from error
        except NodeUnreachable:
            if not asked.follow or failures >= PATIENCE:
                raise
            reached = False
        if not asked.follow or (reached and not await look(_goes_on, container.id)):
            return
        # The agent is away, or the node knows of a start or an exit that the row does not tell of yet.
        await asyncio.sleep(PAUSES[min(failures, len(PAUSES) - 1)])
        failures += 1


def _goes_on(container: str) -> bool:
    row = Container.objects.filter(pk=container).first()
    return row is not None and (row.is_alive or (row.pending and row.desired == State.RUNNING))


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
