"""uvicorn's HTTP protocol, with fewer copies of large bodies.

Bytes that come are joined once, when they are asked for. Files go from the page cache to the connection past
this process, by what an application finds in its scope as ``FILES`` under ``extensions``.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

FILES = "slipway.files"
ENOUGH = 256 << 10
"""Bytes of a body that may wait to be asked for."""
STEP = 1 << 20


class Gathered:
    """As much of a ``bytearray`` as uvicorn needs of a body, made of pieces nobody copies."""

    __slots__ = ("_length", "_pieces")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._length = 0

    def __iadd__(self, piece: bytes) -> Gathered:
        self._pieces.append(piece)
        self._length += len(piece)
        return self

    def __len__(self) -> int:
        return self._length

    def __bytes__(self) -> bytes:
        return self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)


class Protocol(HttpToolsProtocol):
    def on_body(self, body: bytes) -> None:
        cycle = self.cycle
        if cycle.response_complete or (self.parser.should_upgrade() and self._should_upgrade()):
            return
        if not cycle.body:
            cycle.body = Gathered()  # type: ignore[assignment]
        cycle.body += body
        if len(cycle.body) > ENOUGH:
            self.flow.pause_reading()
        cycle.message_event.set()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        if self.transport.get_extra_info("sslcontext") is None:
            scope: dict[str, Any] = cycle.scope  # type: ignore[assignment]
            scope["extensions"] = {FILES: Files(cycle)}
        super()._start_asgi_task(cycle, app)


class Files:
    """Sends parts of files as parts of an answer whose headers, which say its length, were sent before."""

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle

    async def send(self, file: int, offset: int, count: int) -> int:
        """Up to ``count`` bytes of ``file``, which are in memory; how many. 0: no more, or the client went.

        Nothing else may be sent meanwhile.
        """
        cycle = self._cycle
        # One that closes may have given its number to another connection already.
        while not (cycle.disconnected or cycle.transport.is_closing()):
            if cycle.transport.get_write_buffer_size():
                await self._writable()  # what was sent before is still on its way
                continue
            connection = cycle.transport.get_extra_info("socket")
            try:
                sent = os.sendfile(connection.fileno(), file, offset, min(count, STEP))
            except BlockingIOError:
                await self._writable()
            except OSError:
                return 0
            else:
                cycle.expected_content_length -= sent
                return sent
        return 0

    async def _writable(self) -> None:
        """By a descriptor of our own: that of a transport may not be watched."""
        loop, ready = asyncio.get_running_loop(), asyncio.Event()
        watched = os.dup(self._cycle.transport.get_extra_info("socket").fileno())
        loop.add_writer(watched, ready.set)
        try:
            await ready.wait()
        finally:
            loop.remove_writer(watched)
            os.close(watched)
