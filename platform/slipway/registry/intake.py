"""Bytes of an upload on their way from the connection to the store, hashed as they pass.

While one piece is being written and hashed in a thread, the next one comes in. Quota is reserved before a
piece is written, so nothing that may not be kept reaches the disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Self, TypeVar

from slipway.blobs.store import Appender
from slipway.bodies import SILENCE_SECONDS, ClientGone
from slipway.registry.calls import Call
from slipway.registry.desk import Desk
from slipway.repositories import uploads
from slipway.repositories.errors import WrongSize
from slipway.repositories.models import Upload
from slipway.repositories.sessions import Session
from workers.oci.digest import Hasher, hasher

T = TypeVar("T")
PIECE = 512 << 10
ALIVE_SECONDS = 120.0
"""How often an upload that holds enough already says that it is still coming."""


class Intake:
    """One request's bytes for one upload."""

    def __init__(self, desk: Desk, session: Session, offset: int, algorithm: str = "sha256") -> None:
        self.desk = desk
        self.session = session
        self.offset = offset
        self._began = offset
        self.algorithm = algorithm
        self._hash: Hasher | None = None
        self._appender: Appender | None = None

    async def take(self, call: Call) -> None:
        """All of the body. What came before an error stays, for the client to go on from.

        Raise ``ClientGone``, ``WrongSize``, ``QuotaExceeded``, ``NoSpace``, ``UploadBusy``.
        """
        length = call.length
        if length == 0:
            return
        if length is not None:
            await self._reserve(self.offset + length, uploads.reserve)
        try:
            await self._take(call, length)
        finally:
            if self._appender is not None:
                await self.desk.work(self._close)

    async def _reserve(self, total: int, recorded: Callable[[Upload, int], Upload]) -> None:
        """So little that it needs no row, or with one by the service ``recorded``."""
        session = self.session
        if total <= session.upload.reserved or self.desk.sessions.hold(session, total):
            return
        session.upload = await self.desk.run(lambda: recorded(session.upload, total), writes=True)
        self.desk.sessions.let_go(session)
        session.kept_alive = asyncio.get_running_loop().time()

    async def _take(self, call: Call, length: int | None) -> None:
        written: asyncio.Future[None] | None = None
        came = 0
        try:
            async for piece, is_last in pieces(call):
                came += sum(map(len, piece))
                if length is not None and came > length:
                    raise WrongSize(f"More than the announced {length} bytes came.")
                if written is not None:
                    await written
                if length is None:  # ``self.offset`` lags behind by what is being written
                    await self._reserve(self._began + came, uploads.grow)
                await self._keep_alive()
                written = asyncio.ensure_future(self.desk.work(self._feed, piece, is_last))
        finally:
            if written is not None:
                await written

    async def _keep_alive(self) -> None:
        now = asyncio.get_running_loop().time()
        if self.session.upload.is_recorded and now > self.session.kept_alive + ALIVE_SECONDS:
            self.session.kept_alive = now
            await self.desk.run(lambda: uploads.keep_alive(self.session.upload), writes=True)

    async def break_off(self) -> None:
        """What was announced and did not come is no longer held."""
        await self.desk.run(lambda: uploads.shrink(self.session.upload, self.offset), writes=True)

    def _feed(self, piece: list[bytes], is_last: bool) -> None:
        if self._appender is None:
            self._appender = self.desk.store.append(self.session.key, self.offset)
            self._hash = self._state()
        data = b"".join(piece) if len(piece) > 1 else piece[0]
        self._appender.write(data)
        self.state.update(data)
        self.offset += len(data)
        if is_last:
            self._close()

    @property
    def state(self) -> Hasher:
        """The hash of the first ``offset`` bytes; reads them again where nobody remembers. For a thread."""
        if self._hash is None:
            self._hash = self._state()
        return self._hash

    def _state(self) -> Hasher:
        known = self.session.take_hash(self.offset, self.algorithm)
        if known is not None:
            return known
        fresh = hasher(self.algorithm)
        if self.offset:
            for data in self.desk.store.pieces(self.session.key, self.offset):
                fresh.update(data)
        return fresh

    def _close(self) -> None:
        if self._appender is not None:
            self._appender.close()
            self._appender = None

    def remember(self) -> None:
        """For the next request of this upload."""
        if self._hash is not None:
            self.session.keep_hash(self.offset, self.algorithm, self._hash)


async def pieces(call: Call, size: int = PIECE) -> AsyncIterator[tuple[list[bytes], bool]]:
    """The body, in pieces of about ``size`` bytes, and whether each is known to be the last one.

    After what came of a body that broke off, ``ClientGone``.
    """
    gathered: list[bytes] = []
    have = 0
    with Patience(SILENCE_SECONDS) as patience:
        while True:
            message = await patience.wait(call.receive())
            if message["type"] != "http.request":
                if have:
                    yield gathered, False
                raise ClientGone("Body: the connection closed before it was complete.")
            if data := message.get("body", b""):
                gathered.append(data)
                have += len(data)
            more = message.get("more_body", False)
            if have >= size or (have and not more):
                yield gathered, not more
                gathered, have = [], 0
            if not more:
                return


class Patience:
    """Ends a wait that takes too long, with one timer for many waits: most end at once."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Task[Any] | None = None
        self._since = 0.0
        self._spent = False
        self._timer = self._loop.call_later(seconds, self._look)

    async def wait(self, awaitable: Awaitable[T]) -> T:
        """Raise ``ClientGone``."""
        self._waiter, self._since = asyncio.current_task(), self._loop.time()
        try:
            return await awaitable
        except asyncio.CancelledError:
            if self._spent and self._waiter is not None and self._waiter.uncancel() == 0:
                raise ClientGone(f"Body: nothing came for {self._seconds:.0f} s; send it again.") from None
            raise
        finally:
            self._waiter = None

    def _look(self) -> None:
        left = self._seconds
        if self._waiter is not None:
            left -= self._loop.time() - self._since
            if left <= 0:
                self._spent = True
                self._waiter.cancel()
                return
        self._timer = self._loop.call_later(left, self._look)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
