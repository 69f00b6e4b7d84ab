"""Uploads between two of their requests, as far as this process has seen them.

A small upload has no row: what it holds of the project's quota is counted here until its blob is linked. What
each hashes to so far is here, too; one that is not known here is hashed anew. Who is silent for too long is
forgotten, with the bytes if there is no row.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from slipway.blobs.store import UploadBusy
from slipway.repositories.errors import NoSuchUpload
from slipway.repositories.models import Upload
from slipway.repositories.uploads import EXPIRE
from workers.oci.digest import Hasher

SMALL = 4 << 20
"""Bytes that an upload may have without a row."""
TOGETHER = 64 << 20
"""Bytes that all uploads of a project may have without rows."""
MOST = 10_000
"""Uploads that are remembered; further ones get their rows at once."""


@dataclass
class Session:
    upload: Upload
    room: int | None = 0
    """Bytes that the project's quota had left when it began; None if there is no limit."""
    held: int = 0
    """Bytes counted here instead of in the ledger."""
    seen: float = 0.0
    kept_alive: float = 0.0
    """When its row was last told that something comes of it."""
    is_ended: bool = False
    _is_taken: bool = False
    hashed: tuple[int, str, Hasher] | None = None
    """Of so many bytes, by such an algorithm. Whoever goes on takes it along: two may not feed one."""

    @property
    def key(self) -> str:
        return self.upload.hex

    @contextmanager
    def alone(self) -> Iterator[None]:
        """For one request at a time. Raise ``UploadBusy``, ``NoSuchUpload``."""
        if self.is_ended:
            raise NoSuchUpload
        if self._is_taken:
            raise UploadBusy("Another request is writing to this upload; wait for it to end.")
        self._is_taken = True
        try:
            yield
        finally:
            self._is_taken = False

    def keep_hash(self, offset: int, algorithm: str, state: Hasher) -> None:
        self.hashed = offset, algorithm, state

    def take_hash(self, offset: int, algorithm: str) -> Hasher | None:
        kept, self.hashed = self.hashed, None
        return kept[2] if kept is not None and kept[:2] == (offset, algorithm) else None


class Sessions:
    """``forget`` is told the names of uploads whose bytes nobody will ask for again."""

    def __init__(self, forget: Callable[[str], Any], clock: Callable[[], float] = time.monotonic) -> None:
        self._forget, self._clock = forget, clock
        self._kept: OrderedDict[str, Session] = OrderedDict()
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._held: Counter[UUID] = Counter()

    def find(self, name: str, path: str) -> Session | None:
        session = self._kept.get(name)
        if session is None or session.upload.repository.path != path:
            return None
        self._touch(session)
        return session

    def add(self, session: Session) -> Session:
        if not (self.is_full and session.upload.is_recorded):
            self._kept[session.key] = session
            self._touch(session)
        return session

    @property
    def is_full(self) -> bool:
        self._expire()
        return len(self._kept) >= MOST

    def hold(self, session: Session, total: int) -> bool:
        """Whether the upload may have ``total`` bytes without a row; they are counted then."""
        project = session.upload.repository.project_id
        together = self._held[project] - session.held + total
        limit = TOGETHER if session.room is None else min(TOGETHER, session.room)
        if total > SMALL or together > limit or session.upload.is_recorded:
            return False
        self._held[project] = together
        session.held = total
        return True

    def let_go(self, session: Session) -> None:
        """Its bytes are in the ledger now, or gone."""
        project = session.upload.repository.project_id
        self._held[project] -= session.held
        if self._held[project] <= 0:
            del self._held[project]
        session.held = 0

    def has_ended(self, name: str) -> bool:
        """As far as this process remembers."""
        return name in self._ended

    def drop(self, session: Session) -> None:
        """It has ended."""
        session.is_ended = True
        if self._kept.pop(session.key, None) is not None:
            self.let_go(session)
            self._ended[session.key] = None
            while len(self._ended) > MOST:
                self._ended.popitem(last=False)

    def _touch(self, session: Session) -> None:
        session.seen = self._clock()
        self._kept.move_to_end(session.key)

    def _expire(self) -> None:
        limit = self._clock() - EXPIRE.total_seconds()
        while self._kept:
            session = next(iter(self._kept.values()))
            if session.seen > limit:
                return
            self.drop(session)
            if not session.upload.is_recorded:
                self._forget(session.key)
