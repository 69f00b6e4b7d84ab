"""What of a layer's tar is not in its directory, and the tar put together again from both.

``splitting`` takes note in the extractor's process; here the notes are packed, kept and read.
"""

from __future__ import annotations

import io
import os
from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, cast

import zstandard

from workers.content import full_disk
from workers.engine.splitting import FRAME, KEPT
from workers.errors import NodeError

SPLIT, FRAMES, KEPT_FILES = "split", "frames", "kept"
PIECE = 1 << 18
"""Bytes worth a turn of whoever hashes, compresses or sends them."""
_READ = 1 << 20
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOATIME


def pack(notes: Path) -> None:
    """Turn what the extractor wrote into what is kept. Headers shrink to a thirtieth. Raise ``NoSpace``."""
    frames, kept = notes / FRAMES, notes / KEPT_FILES
    with full_disk(notes), frames.open("rb") as source, (notes / SPLIT).open("xb") as target:
        zstandard.ZstdCompressor(level=1).copy_stream(source, target, read_size=_READ, write_size=_READ)
    frames.unlink()
    if not kept.stat().st_size:
        kept.unlink()


def joined(notes: Path, directory: Path) -> Iterator[bytes]:
    """The exact tar ``directory`` was unpacked from. Raise ``NodeError`` when either is damaged."""
    with ExitStack() as stack:
        layer = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        stack.callback(os.close, layer)
        kept = _Kept(notes / KEPT_FILES, stack)
        packed = stack.enter_context((notes / SPLIT).open("rb"))
        stream = zstandard.ZstdDecompressor().stream_reader(packed, read_size=_READ)
        frames = io.BufferedReader(cast(io.RawIOBase, stream), PIECE)
        try:
            while head := frames.read(sum(FRAME)):
                literal, size, length = _numbers(FRAME, head)
                yield frames.read(literal)
                if size:
                    yield from kept.content(layer, frames.read(length), size)
        except (zstandard.ZstdError, OSError) as error:
            raise _damaged(directory, str(error)) from error


def gathered(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes in fewer pieces: large enough to be worth passing on."""
    waiting: list[bytes] = []
    size = 0
    for piece in pieces:
        waiting.append(piece)
        size += len(piece)
        if size >= PIECE:
            yield b"".join(waiting) if len(waiting) > 1 else piece
            waiting.clear()
            size = 0
    if size:
        yield b"".join(waiting)


class _Kept:
    """Contents that are not in the directory, by path, in the order they went."""

    def __init__(self, path: Path, stack: ExitStack) -> None:
        self._places: defaultdict[bytes, deque[tuple[int, int]]] = defaultdict(deque)
        self._file: BinaryIO | None = None
        if path.exists():
            self._file = stack.enter_context(path.open("rb"))
            self._index(self._file)

    def _index(self, file: BinaryIO) -> None:
        while head := file.read(sum(KEPT)):
            size, length = _numbers(KEPT, head)
            name = file.read(length)
            self._places[name].append((file.tell(), size))
            file.seek(size, os.SEEK_CUR)

    def content(self, layer: int, path: bytes, size: int) -> Iterator[bytes]:
        """Of the next file that was made at ``path``: the last one is still there."""
        if self._file is not None and self._places.get(path):
            offset, length = self._places[path].popleft()
            if length != size:
                raise _damaged(path, "its kept content has another size")
            return _read(self._file.fileno(), offset, size, path)
        return self._of_file(layer, path, size)

    def _of_file(self, layer: int, path: bytes, size: int) -> Iterator[bytes]:
        descriptor = os.open(path, _OPEN, dir_fd=layer)
        try:
            yield from _read(descriptor, 0, size, path)
        finally:
            os.close(descriptor)


def _read(descriptor: int, offset: int, size: int, path: bytes) -> Iterator[bytes]:
    end = offset + size
    while offset < end:
        piece = os.pread(descriptor, min(end - offset, _READ), offset)
        if not piece:
            raise _damaged(path, f"{end - offset} bytes are missing")
        offset += len(piece)
        yield piece


def _numbers(widths: tuple[int, ...], data: bytes) -> Iterator[int]:
    if len(data) != sum(widths):
        raise _damaged("a layer's notes", "they are cut off")
    at = 0
    for width in widths:
        yield int.from_bytes(data[at : at + width], "little")
        at += width


def _damaged(where: object, why: str) -> NodeError:
    shown = where.decode(errors="replace") if isinstance(where, bytes) else str(where)
    return NodeError(f"The layer on this node is damaged at {shown[:200]!r}: {why}; import its image again")
