"""Bytes of an upload on their way from the connection to the store, hashed as they pass.

While one piece is being written and hashed in a thread, the next one comes in. Quota is reserved before a
piece is written, so nothing that may not be kept reaches the disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from slipway.blobs.store import Appender
from slipway.bodies import SILENCE_SECONDS, ClientGone
from slipway.registry.calls import Call
from slipway.registry.desk import Desk
from slipway.repositories import uploads
from slipway.repositories.errors import WrongSize
from slipway.repositories.models import Upload
from workers.oci.digest import Hasher, hasher

PIECE = 512 << 10
ALIVE_SECONDS = 300.0
"""How often a long upload of known size says that it is still coming."""


class Intake:
    """One request's bytes for one upload."""

    def __init__(self, desk: Desk, upload: Upload, offset: int, algorithm: str = "sha256") -> None:
        self.desk = desk
        self.upload = upload
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
            await self._reserve_all(self.offset + length)
        try:
            await self._take(call, length)
        finally:
            await self.desk.work(self._close)

    async def _reserve_all(self, total: int) -> None:
        if total > self.upload.reserved:
            await self.desk.run(lambda: uploads.reserve(self.upload, total), writes=True)

    async def _take(self, call: Call, length: int | None) -> None:
        written: asyncio.Future[None] | None = None
        came, alive = 0, asyncio.get_running_loop().time() + ALIVE_SECONDS
        try:
            async for piece in pieces(call):
                came += sum(map(len, piece))
                if length is not None and came > length:
                    raise WrongSize(f"More than the announced {length} bytes came.")
                if written is not None:
                    await written
                await self._reserve(came, length)
                if asyncio.get_running_loop().time() > alive:
                    alive += ALIVE_SECONDS
                    await self.desk.run(lambda: uploads.keep_alive(self.upload), writes=True)
                written = asyncio.ensure_future(self.desk.work(self._feed, piece))
        finally:
            if written is not None:
                await written

    async def _reserve(self, came: int, length: int | None) -> None:
        """Of an upload whose size nobody told; ``self.offset`` lags behind by what is being written."""
        needed = self._began + came
        if length is None and needed > self.upload.reserved:
            await self.desk.run(lambda: uploads.grow(self.upload, needed), writes=True)

    def _feed(self, piece: list[bytes]) -> None:
        if self._appender is None:
            self._appender = self.desk.store.append(self.upload.hex, self.offset)
            self._hash = self._state()
        data = b"".join(piece) if len(piece) > 1 else piece[0]
        self._appender.write(data)
        self.state.update(data)
        self.offset += len(data)

    @property
    def state(self) -> Hasher:
        """The hash of the first ``offset`` bytes; reads them again where nobody remembers. For a thread."""
        if self._hash is None:
            self._hash = self._state()
        return self._hash

    def _state(self) -> Hasher:
        known = self.desk.hashes.take(self.upload.hex, self.offset, self.algorithm)
        if known is not None:
            return known
        fresh = hasher(self.algorithm)
        if self.offset:
            for data in self.desk.store.pieces(self.upload.hex, self.offset):
                fresh.update(data)
        return fresh

    def _close(self) -> None:
        if self._appender is not None:
            self._appender.close()
            self._appender = None

    def remember(self) -> None:
        """For the next request of this upload."""
        if self._hash is not None:
            self.desk.hashes.put(self.upload.hex, self.offset, self.algorithm, self._hash)


async def pieces(call: Call, size: int = PIECE) -> AsyncIterator[list[bytes]]:
    """The body, in pieces of about ``size`` bytes; after what came of one that broke off, ``ClientGone``."""
    loop = asyncio.get_running_loop()
    gathered: list[bytes] = []
    have = 0
    try:
        async with asyncio.timeout(SILENCE_SECONDS) as patience:
            while True:
                message = await call.receive()
                if message["type"] != "http.request":
                    if have:
                        yield gathered
                    raise ClientGone("Body: the connection closed before it was complete.")
                if data := message.get("body", b""):
                    gathered.append(data)
                    have += len(data)
                more = message.get("more_body", False)
                if have >= size or (have and not more):
                    patience.reschedule(None)
                    yield gathered
                    gathered, have = [], 0
                if not more:
                    return
                patience.reschedule(loop.time() + SILENCE_SECONDS)
    except TimeoutError as error:
        raise ClientGone(f"Body: nothing came for {SILENCE_SECONDS:.0f} s; send it again.") from error
