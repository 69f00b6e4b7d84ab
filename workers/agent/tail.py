"""Tells the agent's parts what any process of the node has journaled, as it happens."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from pathlib import Path

import structlog

from workers.errors import SlipwayError
from workers.journal import Journal
from workers.messages import Event, decode_event

LOOK_ANYWAY = 5.0
"""Seconds after which the journal is read without a poke: a datagram may have been dropped."""

log = structlog.get_logger(__name__)


class Tail:
    """Listens on the poke socket. Make it, ``listen``, subscribe, then ``follow`` for ever."""

    def __init__(self, journal: Journal, poke: Path) -> None:
        self._journal, self._poke = journal, poke
        self._grown = asyncio.Event()
        self._listeners: list[Callable[[Event], None]] = []
        self._pokes: list[Callable[[], None]] = [self._grown.set]
        self._seen = 0

    def subscribe(self, listener: Callable[[Event], None]) -> None:
        """Called in the event loop with every event that is journaled from ``listen`` on."""
        self._listeners.append(listener)

    def on_growth(self, poke: Callable[[], None]) -> None:
        """Called, without events, whenever the journal grew."""
        self._pokes.append(poke)

    def listen(self) -> None:
        """Bind the socket; needs the agent's lock, because another's socket would be replaced."""
        self._poke.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(str(self._poke))
        self._poke.chmod(0o600)
        self._seen = self._journal.last_seq
        asyncio.get_running_loop().add_reader(self._socket, self._on_poke)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()
        self._poke.unlink(missing_ok=True)

    def _on_poke(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                self._socket.recv(1)
        for poke in self._pokes:
            poke()

    async def follow(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._grown.wait(), LOOK_ANYWAY)
            self._grown.clear()
            await self._catch_up()

    async def _catch_up(self) -> None:
        if self._journal.last_seq < self._seen:
            self._seen = 0  # a new epoch
        while entries := await asyncio.to_thread(self._journal.read, self._seen):
            for entry in entries:
                self._tell(entry.event)
            self._seen = entries[-1].seq

    def _tell(self, text: str) -> None:
        try:
            event = decode_event(text)
        except SlipwayError:
            log.exception("journal_entry_not_understood")
            return
        for listener in self._listeners:
            listener(event)
