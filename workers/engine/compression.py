"""Streams that hash what is read from them, and the decompression of whatever a stream turns out to be."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Iterator
from gzip import BadGzipFile
from typing import TYPE_CHECKING, BinaryIO, cast

import zstandard
from isal import igzip, igzip_lib

from workers.errors import InvalidArchive
from workers.oci.digest import Digest, hasher

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

CHUNK = 1 << 20
_SUPPORTED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_UNSUPPORTED = {b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"PK\x03\x04": "zip"}
# The stubs of isal call its exception class an exception.
_ISAL = cast(type[Exception], igzip_lib.IsalError)
_BROKEN: tuple[type[Exception], ...] = (BadGzipFile, EOFError, zlib.error, _ISAL, zstandard.ZstdError)


class HashingReader(io.RawIOBase):
    """Passes a stream through; knows the digest and size of what went by."""

    def __init__(
        self, source: BinaryIO, algorithm: str = "sha256", seen: Callable[[int], None] | None = None
    ) -> None:
        self._source, self._algorithm, self._hash = source, algorithm, hasher(algorithm)
        self._seen = seen
        self._ahead = b""
        self.size = 0

    def peek(self, count: int) -> bytes:
        """What the next reads will give, up to ``count`` bytes."""
        while len(self._ahead) < count and (more := self._take(count - len(self._ahead))):
            self._ahead += more
        return self._ahead

    def read(self, count: int = -1) -> bytes:
        if self._ahead:
            piece, self._ahead = self._ahead[:count], self._ahead[count:]
            return piece
        return self._take(CHUNK if count < 0 else count)

    def readable(self) -> bool:
        return True

    def readinto(self, target: WriteableBuffer) -> int:
        view = memoryview(target)
        piece = self.read(len(view))
        view[: len(piece)] = piece
        return len(piece)

    def drain(self) -> Digest:
        """Read the rest; the digest of the whole."""
        self._ahead = b""
        while self._take(CHUNK):
            pass
        return Digest(self._algorithm, self._hash.hexdigest())

    def _take(self, count: int) -> bytes:
        piece = self._source.read(count)
        self._hash.update(piece)
        self.size += len(piece)
        if self._seen is not None:
            self._seen(self.size)
        return piece


def compression_of(source: HashingReader) -> str:
    """``gzip``, ``zstd``, or empty for none; raise ``InvalidArchive`` naming one that is not taken."""
    start = source.peek(6)
    for magic, name in _UNSUPPORTED.items():
        if start.startswith(magic):
            raise InvalidArchive(f"The archive is a {name} stream; use gzip, zstd or none", compression=name)
    return next((name for magic, name in _SUPPORTED.items() if start.startswith(magic)), "")


def decompressed(source: HashingReader) -> Iterator[bytes]:
    """The stream's pieces without its gzip or zstd compression; ``InvalidArchive`` when that is broken."""
    stream = _decompressor(source, compression_of(source))
    try:
        while piece := stream.read(CHUNK):
            yield piece
    except _BROKEN as error:
        raise InvalidArchive(f"The compressed stream is broken or cut off: {error}") from error


def _decompressor(source: HashingReader, compression: str) -> BinaryIO:
    raw = cast(BinaryIO, source)  # a RawIOBase is one in all but its type
    if compression == "gzip":
        return cast(BinaryIO, igzip.IGzipFile(fileobj=raw, mode="rb"))  # type: ignore[no-untyped-call]  # no stubs
    if compression == "zstd":
        # A frame's window is the memory it takes: more than 128 MiB is refused.
        decompressor = zstandard.ZstdDecompressor(max_window_size=1 << 27)
        return cast(BinaryIO, decompressor.stream_reader(raw, read_size=CHUNK, read_across_frames=True))
    return raw
