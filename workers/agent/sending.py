"""Answers whose bytes are made as they go out."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

import structlog
from aiohttp import web

from workers.engine.saving import Saved
from workers.errors import SlipwayError

_LARGE = 1 << 20

log = structlog.get_logger(__name__)


async def send(request: web.Request, saved: Saved) -> web.StreamResponse:
    """The whole archive, or a connection that ends before the length it was promised."""
    response = web.StreamResponse(headers={"Content-Type": "application/x-tar"})
    response.content_length = saved.size
    await response.prepare(request)
    pieces = _large(saved.pieces)
    try:
        while piece := await asyncio.to_thread(next, pieces, b""):
            await response.write(piece)  # waits until the reader has taken most of it
        await response.write_eof()
    except ConnectionError:
        pass  # the reader went away
    except (SlipwayError, OSError) as error:
        # Its head is out already: nothing that could still be said would be taken for an error.
        log.error("archive_broken_off", path=request.path, error=str(error))
        if request.transport is not None:
            request.transport.abort()
    finally:
        await asyncio.to_thread(_end, pieces, saved.pieces)
    return response


def _large(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """So that each is worth the way to another thread and back."""
    waiting = bytearray()
    for piece in pieces:
        waiting += piece
        if len(waiting) >= _LARGE:
            yield bytes(waiting)
            waiting.clear()
    if waiting:
        yield bytes(waiting)


def _end(*generators: Iterator[bytes]) -> None:
    for generator in generators:
        close = getattr(generator, "close", None)
        if close is not None:
            with contextlib.suppress(ValueError):  # at work still, for a request that was broken off
                close()
