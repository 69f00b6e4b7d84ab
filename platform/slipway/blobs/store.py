"""What a blob store does. Two implementations, one contract: ``directory.py`` and ``s3.py``.

A blob is kept under a *key* of its own: its digest and a word nobody else has. So the same bytes may come
twice at once, and a blob may be deleted while its twin is being kept: the two never share a name. Which key
stands for which digest the database says (``repositories.models.Blob``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from workers.errors import UserError
from workers.oci.digest import Digest


class UploadBusy(UserError):
    """Another request is writing to the same upload."""

    code = "UPLOAD_BUSY"


class Appender(Protocol):
    """Bytes on their way to the end of an upload, by one writer at a time; no thread is needed of its own."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Raise ``NoSpace``; what was written before stays."""

    def close(self) -> None:
        """All written bytes are part of the upload. Repeatable. Raise ``NoSpace``."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Reader(Protocol):
    """An open blob: it can be read to its end even when it is deleted meanwhile."""

    @property
    def size(self) -> int: ...

    def read(self, offset: int, length: int) -> bytes:
        """``length`` bytes, fewer only at the end."""

    def file_at_hand(self, offset: int, length: int) -> int | None:
        """The descriptor of a file that has the blob, if those bytes of it seem to be in memory already."""

    def close(self) -> None: ...


@dataclass(frozen=True)
class Stored:
    """What lies in the store: the key of a blob, or the name of an upload."""

    name: str
    changed_at: float
    """Seconds since the epoch."""


class BlobStore(Protocol):
    """Any number of threads and processes may use one store at once."""

    kind: str
    is_near: bool
    """Whether opening and looking up names takes microseconds, so that no thread is needed for it."""

    def append(self, upload: str, offset: int) -> Appender:
        """Write to ``upload`` from its end on, which is at ``offset``.

        Nothing lies in the store before the first byte. Raise ``NoSpace``, and ``UploadBusy`` if it ends
        elsewhere or somebody else writes to it (where the store can tell).
        """

    def received(self, upload: str) -> int:
        """How many bytes of it are there; 0 for one that nobody has written to."""

    def pieces(self, upload: str, end: int) -> Iterator[bytes]:
        """Its first ``end`` bytes, again, for whoever must hash them anew."""

    def keep(self, upload: str, digest: Digest, size: int, key: str | None = None) -> str:
        """Make the upload, ``size`` bytes that have ``digest``, a blob, durably; its key. It is gone then.

        ``key`` is the one it has in another store, from which it is copied; else it gets a new one.
        Raise ``NoSpace``; ``UploadBusy`` if others write to it, or have made it a blob this moment.
        """

    def discard(self, upload: str) -> None:
        """Nothing of it is left. Repeatable."""

    def open(self, key: str) -> Reader:
        """Raise ``NoSuchBlob``."""

    def size(self, key: str) -> int | None:
        """Bytes of the blob; None if it is not there."""

    def delete(self, key: str) -> None:
        """Repeatable."""

    def blobs(self) -> Iterator[Stored]:
        """All of them; for finding what no row stands for."""

    def uploads(self) -> Iterator[Stored]:
        """Likewise."""
