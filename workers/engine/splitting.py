"""Taking note, while a layer is unpacked, of what its tar had beside the files' contents.

What is noted, together with the unpacked directory, gives the exact tar back (``changesets``). Two files
are written. *Frames*, in the order of the tar: bytes as they were, then the size and path of the file
whose content follows them. *Kept*: the contents that a later entry of the same tar took away again, each
with its path, in the order they went.

The extractor's process imports this: nothing but ``os`` and built-in modules.
"""

from __future__ import annotations

import os

FRAME = (4, 8, 2)
"""Bytes of a frame's numbers, little-endian: length of the literal, size of the file, length of its path."""
KEPT = (8, 2)
"""Of a kept file's: size, length of its path."""
_ENOUGH = 1 << 20
_COPY = 1 << 20


class Splitter:
    """Paths are those in the directory, without links and without a leading slash."""

    def __init__(self, frames: int, kept: int) -> None:
        """Two descriptors to write to."""
        self._frames, self._kept = frames, kept
        self._literal: list[bytes] = []
        self._literal_bytes = 0
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._links: set[bytes] = set()

    def passed(self, piece: bytes) -> None:
        """These bytes of the tar are no content of a file."""
        self._literal.append(piece)
        self._literal_bytes += len(piece)
        if self._literal_bytes >= _ENOUGH:
            self._frame(0, b"")

    def content(self, size: int, path: bytes) -> None:
        """Next in the tar are ``size`` bytes, which become the file ``path``."""
        self._frame(size, path)

    def linked(self, path: bytes) -> None:
        """``path`` is another name of a file: the tar has no content for it."""
        self._links.add(path)

    def leaving(self, name: bytes, path: bytes) -> None:
        """The regular file at ``path``, now at ``name``, is about to be removed."""
        if path in self._links:
            self._links.discard(path)
            return
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            size = os.fstat(descriptor).st_size
            if size:
                _write(self._kept, _numbers(KEPT, size, len(path)) + path)
            while piece := os.read(descriptor, _COPY):
                _write(self._kept, piece)
        finally:
            os.close(descriptor)

    def finish(self) -> None:
        """Everything is written."""
        self._frame(0, b"")
        self._flush()

    def _frame(self, size: int, path: bytes) -> None:
        self._out.append(_numbers(FRAME, self._literal_bytes, size, len(path)))
        self._out += self._literal
        self._out.append(path)
        self._out_bytes += self._literal_bytes + len(path)
        self._literal.clear()
        self._literal_bytes = 0
        if self._out_bytes >= _ENOUGH:
            self._flush()

    def _flush(self) -> None:
        _write(self._frames, b"".join(self._out))
        self._out.clear()
        self._out_bytes = 0


def _numbers(widths: tuple[int, ...], *numbers: int) -> bytes:
    return b"".join(number.to_bytes(width, "little") for width, number in zip(widths, numbers, strict=True))


def _write(descriptor: int, data: bytes) -> None:
    written = os.write(descriptor, data)
    while written < len(data):
        written += os.write(descriptor, data[written:])
