"""Blobs of the registry, copied from one store to another while everything runs.

A blob keeps its key, so no row changes: whichever store is set has it. What is there already is not copied
again, so that a run that broke off, or the short one after everything was stopped, does only what is left.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from slipway.blobs.store import BlobStore, Reader
from slipway.repositories.models import Blob
from workers.errors import NoSuchBlob
from workers.oci.digest import Digest, hasher

PIECE = 4 << 20
ROWS = 500


@dataclass
class Moved:
    """What came of a run, and of one under way."""

    blobs: int = 0
    """Looked at."""
    copied: int = 0
    size: int = 0
    """Bytes copied."""
    missing: list[str] = field(default_factory=list)
    """Digests of blobs that neither store has."""
    damaged: list[str] = field(default_factory=list)
    """Digests of blobs whose bytes are others; they are not copied."""

    @property
    def is_whole(self) -> bool:
        return not self.missing and not self.damaged


Report = Callable[[Moved], None]


def move(source: BlobStore, target: BlobStore, report: Report, *, verify: bool = False) -> Moved:
    """``target`` has every blob that ``source`` has; ``verify`` reads what it had before, too.

    ``report`` is told after each. Raise ``NoSpace``, ``StoreFailed``; the next run goes on from there.
    """
    moved = Moved()
    for blob in _all():
        moved.blobs += 1
        if not _is_there(target, blob, verify=verify):
            _take(source, target, blob, moved)
        report(moved)
    return moved


def _all() -> Iterator[Blob]:
    """A page at a time: no transaction is open while bytes flow."""
    rows = Blob.objects.order_by("pk")
    page = list(rows[:ROWS])
    while page:
        yield from page
        page = list(rows.filter(pk__gt=page[-1].pk)[:ROWS])


def _is_there(target: BlobStore, blob: Blob, *, verify: bool) -> bool:
    try:
        reader = target.open(blob.key)
    except NoSuchBlob:
        return False
    try:
        whole = reader.size == blob.size and (not verify or _digest(reader, blob) == blob.digest)
    finally:
        reader.close()
    if not whole:
        target.delete(blob.key)
    return whole


def _digest(reader: Reader, blob: Blob) -> str:
    digest = Digest.parse(blob.digest)
    state = hasher(digest.algorithm)
    for piece in _pieces(reader):
        state.update(piece)
    return f"{digest.algorithm}:{state.hexdigest()}"


def _pieces(reader: Reader) -> Iterator[bytes]:
    position = 0
    while piece := reader.read(position, PIECE):
        yield piece
        position += len(piece)


def _take(source: BlobStore, target: BlobStore, blob: Blob, moved: Moved) -> None:
    try:
        reader = source.open(blob.key)
    except NoSuchBlob:
        # Swept since its row was read, or pushed again under another key.
        if Blob.objects.filter(pk=blob.pk, key=blob.key).exists():
            moved.missing.append(blob.digest)
        return
    try:
        size = _copy(reader, target, blob)
    finally:
        reader.close()
    if size is None:
        moved.damaged.append(blob.digest)
    else:
        moved.copied += 1
        moved.size += size


def _copy(reader: Reader, target: BlobStore, blob: Blob) -> int | None:
    """Its size; None, and nothing is left, if the bytes have another digest."""
    digest = Digest.parse(blob.digest)
    state = hasher(digest.algorithm)
    upload, size = secrets.token_hex(16), 0
    try:
        with target.append(upload, 0) as appender:
            for piece in _pieces(reader):
                appender.write(piece)
                state.update(piece)
                size += len(piece)
        if state.hexdigest() != digest.hex:
            target.discard(upload)
            return None
        target.keep(upload, digest, size, blob.key)
    except BaseException:
        target.discard(upload)
        raise
    return size
