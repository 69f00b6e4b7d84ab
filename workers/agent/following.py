"""A log as NDJSON, from a position: what is there, and with ``follow`` what comes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

from workers.agent.logwatch import LogWatch
from workers.engine import logs

BLOCK_BYTES = 256 << 10
SIGN_OF_LIFE = 15.0
"""Seconds of silence after which an empty line is sent."""
BREATH = 0.01
"""Seconds between blocks of a log that is being written, so that many lines travel together."""


async def read(directory: Path, position: int) -> AsyncGenerator[bytes, None]:
    """Blocks of whole lines until the end as it is now."""
    more = True
    while more:
        block, position, more = await asyncio.to_thread(_read_block, directory, position)
        if block:
            yield block


async def follow(
    may_write: Callable[[], bool], watch: LogWatch, directory: Path, position: int
) -> AsyncGenerator[bytes, None]:
    """Blocks of whole lines until nobody may write any more and everything was read.

    ``may_write`` may block for a while; when it turns false, ``watch`` must ring for ``directory``.
    """
    armed: asyncio.Future[None] | None = None
    try:
        while True:
            # Looked up first: what is read after the end is the whole of it.
            has_ended = not await asyncio.to_thread(may_write)
            block, position, more = await asyncio.to_thread(_read_block, directory, position)
            if block:
                yield block
            if more:
                continue
            if has_ended:
                return
            if armed is None or armed.done():
                if block:
                    await asyncio.sleep(BREATH)
                armed = watch.arm(directory)
                continue  # for what was written before the watch was there
            if not await _rings(armed):
                yield b"\n"
    finally:
        if armed is not None:
            watch.disarm(directory, armed)


async def _rings(armed: asyncio.Future[None]) -> bool:
    done, _ = await asyncio.wait([armed], timeout=SIGN_OF_LIFE)
    return bool(done)


def _read_block(directory: Path, position: int) -> tuple[bytes, int, bool]:
    chunk = logs.read(directory, position, limit_bytes=BLOCK_BYTES)
    return b"".join(map(_line, chunk.entries)), chunk.next, chunk.more


def _line(entry: logs.Entry) -> bytes:
    fields = {
        "p": entry.position,
        "n": entry.next,
        "t": entry.time,
        "s": entry.stream,
        "l": entry.text,
        "f": entry.whole,
    }
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
